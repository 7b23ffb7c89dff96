"""One evaluation as it goes: who it is for, what was answered so far, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fme_client.evaluation.js import truthy
from fme_client.evaluation.questions import InList, Matches, Stored, UserDetails

if TYPE_CHECKING:
    from fme_client.evaluation.context import Context
    from fme_client.evaluation.questions import Answer, Question
    from fme_client.evaluation.regex import Regex

_NOTHING: Mapping[str, Any] = {}
_WORK_AT_ONCE = 20_000  # characters that regular expressions may look at in a run: a fraction of a millisecond


class Unanswered(Exception):  # noqa: N818 - not an error: the evaluation stops here until it is answered
    """A question that has no answer yet."""

    def __init__(self, question: Question) -> None:
        self.question = question


class View:
    """The state of one run.

    A run that meets an unanswered question is thrown away and started again with the answer: an evaluation takes
    microseconds, asking does not, and so all rules are plain functions.
    """

    __slots__ = (
        "_answered",
        "_answers",
        "_storage",
        "_work_left",
        "context",
        "details",
        "exposures",
        "groups_open",
        "ip_address",
        "list_user",
        "rollouts_passed",
        "to_store",
        "user_agent",
        "user_id",
        "user_key",
        "winners",
    )

    def __init__(self, context: Context, user_key: bytes, answers: Sequence[Answer], *, storage: bool) -> None:
        self.context = context
        self.user_id = context.id
        self.user_key = user_key
        self.user_agent = context.user_agent
        self.ip_address = context.ip_address
        given = context.user_details
        self.details: Mapping[str, Any] = given if isinstance(given, Mapping) else _NOTHING
        # `_vwoUserId` of the custom variables: the user's id, or VWO's id of the user, as the latest rule wants it.
        self.list_user = ""
        # Keys of features one of whose rollout rules let the user in.
        self.rollouts_passed: set[str] = set()
        # Winners of groups by group id: a campaign id, `<campaign>_<variation>`, or -1.
        self.winners: dict[Any, Any] = {}
        # Ids of groups whose winner is being looked for.
        self.groups_open: list[Any] = []
        self.exposures: list[tuple[Any, Any]] = []
        self.to_store: list[dict[str, Any]] = []
        self._answers = answers
        self._answered = 0
        self._storage = storage
        self._work_left: float = _WORK_AT_ONCE

    def _ask(self, question: Question) -> Answer:
        position = self._answered
        if position == len(self._answers):
            raise Unanswered(question)
        self._answered = position + 1
        return self._answers[position]

    def in_list(self, value: str, list_id: str) -> bool:
        return self._ask(InList(value, list_id)) is True

    def matches(self, regex: Regex, text: str) -> bool:
        """Whether it matches; asked where finding out here could take long."""
        work = regex.work(text)
        if work <= self._work_left:
            self._work_left -= work
            return regex.matches(text)
        return self._ask(Matches(regex, text)) is True

    def ask_details(self) -> None:
        answer = self._ask(UserDetails(self.user_agent, self.ip_address))
        self.details = answer if isinstance(answer, Mapping) else _NOTHING

    def stored(self, feature_key: str) -> Mapping[str, Any]:
        """What the storage has, empty also when there is no storage."""
        if not self._storage:
            return _NOTHING
        answer = self._ask(Stored(feature_key))
        return answer if isinstance(answer, Mapping) else _NOTHING

    def detail(self, name: str) -> Any:
        """`location` or `userAgent` of the user details; None when it says nothing."""
        value = self.details.get(name)
        return value if truthy(value) else None

    def store(self, feature_key: str, decided: Mapping[str, Any]) -> None:
        """Keep a decision, unless it is one that the Node SDK refuses to store."""
        if not truthy(feature_key):
            return
        experiment = truthy(decided.get("experimentKey"))
        if truthy(decided.get("rolloutKey")) and not experiment and not truthy(decided.get("rolloutVariationId")):
            return
        if experiment and not truthy(decided.get("experimentVariationId")):
            return
        names = (
            "rolloutId",
            "rolloutKey",
            "rolloutVariationId",
            "experimentId",
            "experimentKey",
            "experimentVariationId",
        )
        self.to_store.append(
            {"featureKey": feature_key, "userId": self.user_id, **{name: decided.get(name) for name in names}}
        )
