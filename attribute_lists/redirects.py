"""Checks of lists that another node of the cluster has: redis-py follows them there, one question of a list at a time.

What is asked of a list while a question about it is under way makes the next one: a redirection hits all checks of a
list at once, and redis-py takes a connection for each of its commands.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from attribute_lists.batches import Part
from attribute_lists.replies import state_of, trouble_of
from attribute_lists.states import State
from foundation.store import STORE_ERRORS
from foundation.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from attribute_lists.batches import Check
    from attribute_lists.lines import Lines
    from attribute_lists.lists import AskedList, Question

log = logging.getLogger(__name__)


class Redirects:
    """`tell` gets each question back, with what is known. Each has the deadline of `lines`, from its turn on."""

    def __init__(self, lines: Lines, *, tell: Callable[[AskedList, Question, Check, State], None]) -> None:
        self._lines = lines
        self._tell = tell
        self._waiting: dict[AskedList, Part] = {}
        self._asked: set[AskedList] = set()  # about which a question is under way
        self._tasks = Tasks(lambda error: log.error("redirected checks failed", exc_info=error))

    def ask(self, asked: AskedList, question: Question, check: Check) -> None:
        part = self._waiting.get(asked)
        if part is None:
            part = self._waiting[asked] = Part(asked, [], [])
            if asked not in self._asked:
                self._asked.add(asked)
                self._tasks.begin(self._ask_all(asked))
        part.questions.append(question)
        part.checks.append(check)

    async def aclose(self) -> None:
        await self._tasks.end()

    async def _ask_all(self, asked: AskedList) -> None:
        try:
            while (part := self._waiting.pop(asked, None)) is not None:
                for piece in part.pieces:
                    await self._answer(piece)
        finally:
            self._asked.discard(asked)

    async def _answer(self, part: Part) -> None:
        states = [State.ERROR] * len(part.checks)
        try:
            states = await self._states(part)
        except STORE_ERRORS as error:
            states = [state_of(error)] * len(part.checks)
        finally:
            for question, check, state in zip(part.questions, part.checks, states, strict=True):
                try:
                    self._tell(part.asked, question, check, state)
                except Exception:
                    log.exception("a check's answer could not be delivered")

    async def _states(self, part: Part) -> list[State]:
        asked, ask = part.asked, self._lines.follow
        active, found = await asyncio.gather(
            ask("HGET", asked.about, "active"), ask("SMISMEMBER", asked.key, *part.values())
        )
        trouble = trouble_of(active)
        return [State(trouble) if trouble else State.IN if is_in else State.NOT_IN for is_in in part.answers(found)]
