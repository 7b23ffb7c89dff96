"""Deciding flags: pure, no input or output, and equal to `vwo-fme-node-sdk` 1.35.0 decision for decision.

    settings = Settings.parse(document)                 # once; shared between threads
    decision = answer_with(decide(settings, "flag", Context("user-1")), answer=ask_the_gateway)

`decide` is a generator of questions (`InList`, `UserDetails`, `Stored`, `Matches`), so that a client answers them over
HTTP with a deadline and a gateway from its store. docs/python-client-decisions.md says which habits of the Node SDK are
matched.
"""

from fme_client.evaluation.context import Context
from fme_client.evaluation.decision import Decision, Exposure, decide
from fme_client.evaluation.questions import Answer, InList, Matches, Question, Stored, UserDetails, answer_with
from fme_client.evaluation.settings import Settings, SettingsError

__all__ = [
    "Answer",
    "Context",
    "Decision",
    "Exposure",
    "InList",
    "Matches",
    "Question",
    "Settings",
    "SettingsError",
    "Stored",
    "UserDetails",
    "answer_with",
    "decide",
]
