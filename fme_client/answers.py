"""What an evaluation asks, answered by the gateway and the application's storage, all within one deadline."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING

from fme_client.breaker import Breaker
from fme_client.errors import NetworkError
from fme_client.evaluation import Answer, Decision, InList, Matches, Question, Stored, UserDetails
from fme_client.transport import Request
from fme_client.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from fme_client.logs import Log
    from fme_client.options import Options
    from fme_client.storage import KeptDecisions
    from fme_client.transport import Answer as HttpAnswer
    from fme_client.transport import Transport

_Asked = InList | UserDetails

_CHECK, _DETAILS = "/check-attribute", "/get-user-details"
_CHECK_LIMIT, _DETAILS_LIMIT = 64, 64 * 1024  # bytes of an answer
_DETAILS_SHARE = 0.5  # of the time that is left: what a list check needs must remain
_AT_ONCE = 16  # questions of all calls that ask several
_MOST_WORK = 1_000_000  # characters that one regular expression may look at, since it can't be stopped: some 30 ms
_GRACE = 0.005  # seconds for a worker to tell that its deadline has passed
_OK = 200


class Gateway:
    """Asks the gateway what evaluations want to know."""

    def __init__(self, transport: Transport, options: Options) -> None:
        self._transport = transport
        self._account_id = options.account_id
        self._is_there = options.has_gateway
        self._log = options.log
        self._breakers = {InList: Breaker(), UserDetails: Breaker()}
        self._workers = Workers(_AT_ONCE, name="fme-client-asking")

    def ask_all(self, questions: Sequence[tuple[_Asked, float]]) -> list[Answer]:
        """The answer to each by its deadline, or its `unanswered`; several are asked at the same time."""
        if len(questions) == 1:
            return [self.ask(*questions[0])]
        under_way = [self._workers.submit(partial(self.ask, question, deadline)) for question, deadline in questions]
        return [self._wait(*asked, future) for asked, future in zip(questions, under_way, strict=True)]

    def ask(self, question: _Asked, deadline: float) -> Answer:
        """The answer, or `question.unanswered`, by the deadline. The log has the reason then."""
        if not self._is_there:
            if isinstance(question, InList):
                self._log.complain("no_gateway", "a rule names a list, and only a gateway knows lists: false")
            return question.unanswered
        request = self._request(question)
        try:
            answer = self._breakers[type(question)].call(partial(self._transport.fetch, request, deadline))
            return _is_true(answer) if isinstance(question, InList) else _details(answer)
        except NetworkError as error:
            return self._nothing(question, error)

    def close(self) -> None:
        self._workers.close()

    def _wait(self, question: _Asked, deadline: float, asked: Future[Answer]) -> Answer:
        try:
            return asked.result(timeout=max(deadline - time.monotonic(), 0) + _GRACE)
        except (TimeoutError, CancelledError):
            asked.cancel()
            return self._nothing(question, NetworkError("deadline", "no answer came in time"))

    def _nothing(self, question: _Asked, error: NetworkError) -> Answer:
        what, so = ("a list", "false") if isinstance(question, InList) else ("user details", "none")
        self._log.complain(f"{error.kind}_{so}", f"the gateway did not tell about {what}, so {so}: {error}")
        return question.unanswered

    def _request(self, question: _Asked) -> Request:
        if isinstance(question, InList):
            parameters = {"attribute": question.value, "listId": question.list_id, "accountId": self._account_id}
            return Request(_CHECK, parameters, limit=_CHECK_LIMIT)
        named = {"userAgent": question.user_agent, "ipAddress": question.ip_address, "accountId": self._account_id}
        return Request(_DETAILS, {name: value for name, value in named.items() if value}, limit=_DETAILS_LIMIT)


class Answers:
    """The answers of one call: each question is asked once, and all must be answered by `deadline`."""

    def __init__(
        self, gateway: Gateway, storage: KeptDecisions | None, user_id: str, deadline: float, log: Log
    ) -> None:
        self._gateway = gateway
        self._log = log
        self._storage = storage
        self._user_id = user_id
        self._deadline = deadline
        self._known: dict[tuple[type, Question], Answer] = {}  # the type, since tuples of two types may be equal
        self._not_tried: set[Question] = set()

    def decide(self, evaluations: Mapping[str, Generator[Question, Answer, Decision]]) -> dict[str, Decision]:
        """Drive all evaluations to their ends side by side: what they want to know at a time is asked at once."""
        decisions: dict[str, Decision] = {}
        waiting: dict[str, Question] = {}
        for key, evaluation in evaluations.items():
            try:
                waiting[key] = next(evaluation)
            except StopIteration as done:
                decisions[key] = done.value
        while waiting:
            self._ask({(type(question), question) for question in waiting.values()} - self._known.keys())
            for key, question in list(waiting.items()):
                if question in self._not_tried:
                    self._log.complain(
                        f"regex_{key}",
                        f"get_flag: a regular expression of {key} might take too long, and so does not match",
                    )
                try:
                    waiting[key] = evaluations[key].send(self._known[type(question), question])
                except StopIteration as done:
                    del waiting[key]
                    decisions[key] = done.value
        return decisions

    def _ask(self, questions: Iterable[tuple[type, Question]]) -> None:
        of_gateway: list[tuple[_Asked, float]] = []
        for kind, question in questions:
            if isinstance(question, Stored):
                found = self._storage.get(question.feature_key, self._user_id) if self._storage else {}
                self._known[kind, question] = found
            elif isinstance(question, Matches):
                self._known[kind, question] = self._matches(question)
            else:
                of_gateway.append((question, self._deadline_of(question)))
        for (question, _), answer in zip(of_gateway, self._gateway.ask_all(of_gateway), strict=True):
            self._known[type(question), question] = answer

    def _matches(self, question: Matches) -> bool:
        if question.regex.work(question.text) <= _MOST_WORK and time.monotonic() < self._deadline:
            return question.regex.matches(question.text)
        self._not_tried.add(question)
        return question.unanswered

    def _deadline_of(self, question: Question) -> float:
        if isinstance(question, UserDetails):
            now = time.monotonic()
            return now + (self._deadline - now) * _DETAILS_SHARE
        return self._deadline


def _is_true(answer: HttpAnswer) -> bool:
    if answer.status == _OK and answer.body in (b"true", b"false"):
        return answer.body == b"true"
    raise NetworkError("bad_answer", f"it answered {answer.status}, and neither true nor false")


def _details(answer: HttpAnswer) -> Mapping[str, object]:
    found = answer.json() if answer.status == _OK else None
    if isinstance(found, dict):
        return found
    raise NetworkError("bad_answer", f"it answered {answer.status}, and no JSON object")
