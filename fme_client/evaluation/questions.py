"""What an evaluation may have to ask of the world, and how it is asked without doing the asking here.

`decide` is a generator: it yields a question and is sent the answer. What can't be answered is answered with the
question's `unanswered`: `False` or an empty mapping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from fme_client.evaluation.regex import Regex


@dataclass(frozen=True, slots=True)
class InList:
    """Is this value a member of this attribute list? Answer: a bool.

    `value` is the text as the Node SDK puts it into the query, not yet percent-encoded (`None` is `"null"`).
    """

    value: str
    list_id: str

    @property
    def unanswered(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class UserDetails:
    """Where is this address, and what is this browser? Answer: the JSON object of `/get-user-details`.

    Asked once, before all rules, when some rule of the flag needs the gateway; like the Node SDK also when neither
    user agent nor address is known.
    """

    user_agent: str | None
    ip_address: str | None

    @property
    def unanswered(self) -> Mapping[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class Stored:
    """What has the application's storage under this key for the user? Answer: a mapping, empty when there is none.

    `feature_key` is a flag's key, or `_vwo_meta_meg_<group id>` for the winner of a group.
    """

    feature_key: str

    @property
    def unanswered(self) -> Mapping[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class Matches:
    """Does this regular expression match this text? Answer: a bool.

    Asked only where finding out may take long, perhaps for ever: `regex.work(text)` says how long at the most, and
    `regex.matches(text)` can't be stopped. What can be found out at once is not asked.
    """

    regex: Regex
    text: str

    @property
    def unanswered(self) -> bool:
        return False


Question: TypeAlias = InList | UserDetails | Stored | Matches
Answer: TypeAlias = "bool | Mapping[str, Any]"

_T = TypeVar("_T")


def answer_with(evaluation: Generator[Question, Answer, _T], answer: Callable[[Question], Answer]) -> _T:
    """Drive `evaluation` to its end with `answer`, which must not raise (give `question.unanswered` instead)."""
    try:
        question = next(evaluation)
        while True:
            question = evaluation.send(answer(question))
    except StopIteration as done:
        result: _T = done.value
        return result
