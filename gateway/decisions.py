"""Deciding flags here: `fme_client.evaluation` asks; the store, the user-agent parser and `regexes` answer."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import Counter

from attribute_lists.states import State
from fme_client.evaluation import Answer, Context, Decision, InList, Matches, Question, Settings, UserDetails, decide
from gateway.regexes import Allowance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, MutableMapping

    from attribute_lists.membership import Membership
    from gateway.metrics import Metrics
    from gateway.regexes import RegexMatcher

    Describe = Callable[[str, str], Awaitable[Mapping[str, Any]]]

_AT_ONCE = 64  # evaluations side by side; between them, others have their turn

_KNOWN = frozenset((State.IN, State.NOT_IN))
_T = TypeVar("_T")


class Asking:
    """The answers of one request: each question is asked once, however many flags want to know."""

    def __init__(self, decider: Decider, account: str) -> None:
        self.account = account
        self.states: dict[InList, State] = {}  # what was known of each list that was asked
        self.details: Mapping[str, Any] | None = None  # of the user, once asked for
        self.given_up: set[Matches] = set()  # regular expressions for which there was no time; they match nothing
        self._decider = decider
        self._asked: dict[Question, asyncio.Future[Answer]] = {}
        self._allowance = Allowance()
        self._matching = asyncio.Lock()  # one after the other, or a request alone would take all processes

    @property
    def unknown(self) -> list[State]:
        """Why lists could not say, each reason once; empty where all was known."""
        return sorted(set(self.states.values()) - _KNOWN)

    async def run(self, evaluation: Generator[Question, Answer, _T], flag: str) -> _T:
        """Drive the evaluation of `flag` to its end."""
        try:
            question = next(evaluation)
            while True:
                answer = await self._answer(question)
                if question in self.given_up:
                    self._decider.regexes.tell(flag)
                question = evaluation.send(answer)
        except StopIteration as done:
            result: _T = done.value
            return result

    def _answer(self, question: Question) -> Awaitable[Answer]:
        asked = self._asked.get(question)
        if asked is None:
            asked = self._asked[question] = asyncio.ensure_future(self._ask(question))
        return asked

    async def _ask(self, question: Question) -> Answer:
        if isinstance(question, InList):
            state = await self._decider.member(self.account, question)
            self.states[question] = state
            return state.is_member
        if isinstance(question, UserDetails):
            self.details = await self._decider.details(question)
            return self.details
        if isinstance(question, Matches):
            return await self._match(question)
        return question.unanswered  # there is no storage here

    async def _match(self, question: Matches) -> bool:
        async with self._matching:
            found = await self._decider.regexes.match(question.regex, question.text, self._allowance)
        if found is None:
            self.given_up.add(question)
        return found is True


class Decider:
    """Decides flags. `describe`: what `/get-user-details` says of a user agent and an address."""

    def __init__(
        self,
        membership: Membership,
        describe: Describe,
        regexes: RegexMatcher,
        metrics: Metrics,
        *,
        checks: MutableMapping[str, int],
    ) -> None:
        self.regexes = regexes
        self._membership = membership
        self._describe = describe
        self._checks = checks
        self._decisions = Counter(
            "cohort_gateway_decisions",
            "Flags decided here, by way (get_flag, ofrep, ofrep_bulk) and outcome: on, off, failed (off, since there "
            "is no such flag, or since its settings are such that the Node SDK would fail)",
            ["way", "outcome"],
            registry=metrics.registry,
        )

    def asking(self, settings: Settings) -> Asking:
        """For one request, and one user."""
        return Asking(self, settings.account_id)

    async def decide(
        self, settings: Settings, keys: Iterable[str], context: Context, asking: Asking, *, way: str
    ) -> dict[str, Decision]:
        """The flags called `keys`, each once, for one user. It never raises; what can't be known counts as `false`."""
        decisions: dict[str, Decision] = {}
        remaining = iter(dict.fromkeys(keys))
        while some := list(itertools.islice(remaining, _AT_ONCE)):
            found = await asyncio.gather(*(asking.run(decide(settings, key, context), key) for key in some))
            decisions.update(zip(some, found, strict=True))
        for decision in decisions.values():
            outcome = "failed" if decision.failure is not None else "on" if decision.is_enabled else "off"
            self._decisions.labels(way, outcome).inc()
        return decisions

    async def member(self, account: str, question: InList) -> State:
        """What is known of a value and a list."""
        value = question.value.encode("utf-8", "replace")  # half a surrogate pair is in no list
        state = await self._membership.check(account, question.list_id, [value])
        self._checks[state] += 1
        return state

    async def details(self, question: UserDetails) -> Mapping[str, Any]:
        """What the Node SDK would be told of the user."""
        user_agent = (question.user_agent or "").encode("utf-8", "replace").decode()
        return await self._describe(user_agent, question.ip_address or "")
