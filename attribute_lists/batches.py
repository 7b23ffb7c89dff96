"""What leaves in one write: the questions of one turn of the event loop, list by list."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol

from foundation.wire import pack_many

if TYPE_CHECKING:
    from collections.abc import Iterable

    from attribute_lists.lists import AskedList, Question
    from attribute_lists.states import State

_MOST_QUESTIONS = 1000  # in one command, a tenth of a millisecond for which others wait
_PLAIN = {bytes}  # questions of one value


class Check(Protocol):
    """Who asks."""

    def told(self, state: State) -> None:
        """The answer. Whatever this raises is logged; nobody else's check suffers."""


class Part:
    """What a batch asks of one list, and who asks it."""

    __slots__ = ("asked", "checks", "is_plain", "questions")

    def __init__(self, asked: AskedList, questions: list[Question], checks: list[Check]) -> None:
        self.asked = asked
        self.questions = questions
        self.checks = checks
        self.is_plain = False  # every question is one value

    @property
    def pieces(self) -> Iterable[Part]:
        """Itself, as a rule."""
        if len(self.questions) <= _MOST_QUESTIONS:
            return (self,)
        starts = range(0, len(self.questions), _MOST_QUESTIONS)
        ends = [slice(start, start + _MOST_QUESTIONS) for start in starts]
        return [Part(self.asked, self.questions[piece], self.checks[piece]) for piece in ends]

    def values(self) -> list[bytes]:
        """What all questions are made of."""
        questions: list[Any] = self.questions
        self.is_plain = set(map(type, questions)) == _PLAIN
        if not self.is_plain:
            questions = list(itertools.chain.from_iterable(map(_values, questions)))
        return questions

    def command(self) -> bytes:
        """One question, however many it is made of."""
        return pack_many("SMISMEMBER", self.asked.key, self.values())

    def answers(self, reply: list[int]) -> list[int]:
        """To each question."""
        if self.is_plain:
            return reply
        replies = iter(reply)
        return [max(itertools.islice(replies, len(_values(question)))) for question in self.questions]


def _values(question: Question) -> tuple[bytes, ...]:
    return (question,) if isinstance(question, bytes) else question


class Query(Protocol):
    """Commands beside those of checks, about keys of the same server, that leave with a batch."""

    def commands(self) -> list[bytes]:
        """As they are on the wire, one at least; asked for once, when the batch leaves."""

    def told(self, replies: list[Any] | None) -> None:
        """A reply to each command, the store's errors among them; None where it did not answer in time."""


class Batch:
    """What left in one write. The first one of a connection, a greeting, has neither parts nor queries."""

    __slots__ = ("due", "given_up", "in_doubt", "parts", "queries", "replies", "size", "spared")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.queries: list[tuple[Query, int]] | None = None  # and how many replies each takes
        self.size = 0  # checks and queries
        self.replies = 0  # that it takes
        self.due = 0.0
        self.given_up = False  # its checks were answered without the store
        self.in_doubt = False  # something changed between its replies
        self.spared = False  # overdue, perhaps by our own fault

    def commands(self) -> list[bytes]:
        """As they are on the wire: for each list a look and what is asked of it, then those of the queries."""
        self.parts = [piece for part in self.parts for piece in part.pieces]
        self.size = sum(len(part.checks) for part in self.parts)
        commands = [command for part in self.parts for command in (part.asked.look, part.command())]
        if self.queries is not None:
            self.size += len(self.queries)
            of_queries = [query.commands() for query, _ in self.queries]
            self.queries = [(query, len(found)) for (query, _), found in zip(self.queries, of_queries, strict=True)]
            commands += itertools.chain.from_iterable(of_queries)
        return commands
