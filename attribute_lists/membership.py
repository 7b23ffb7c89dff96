"""Answer membership: is this value in that list?

While the store answers, every answer comes from the store. What it said is remembered for the time when it can't say.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from attribute_lists.lines import Lines
from attribute_lists.lists import AskedList
from attribute_lists.names import is_account, is_list_id
from attribute_lists.registry import Registry
from attribute_lists.remembered import Remembered
from attribute_lists.states import State
from foundation.store import STORE_ERRORS, look_again
from foundation.tasks import Tasks, end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from attribute_lists.batches import Check
    from attribute_lists.line import Line
    from attribute_lists.lists import Question
    from foundation.store import Store

log = logging.getLogger(__name__)

_MOST_LISTS = 4096  # that are kept ready; one that is not costs 20 µs
_OPEN_SECONDS = 1.0
_LOST = frozenset((State.UNKNOWN_LIST, State.STORE_EMPTIED, State.LOST_LIST))


class Membership:
    """The checks of one process. `deadline`: seconds that the store has for an answer.

    `remember`: how many answers are remembered; `serve_stale_for`: seconds for which they are given while the store
    can't answer. It never raises for a sick store.
    """

    def __init__(
        self, store: Store, *, deadline: float = 0.1, remember: int = 200_000, serve_stale_for: float = 3600
    ) -> None:
        self.when_names_change: list[Callable[[], None]] = []  # called when one may stand for another list
        self._store = store
        self._deadline = deadline
        self._serve_stale_for = serve_stale_for
        self._remembered = Remembered(remember if serve_stale_for > 0 else 0)
        self.remember = self._remembered.put  # a line tells each answer
        self._registry = Registry(store, changed=self._lists_changed)
        self._lines = Lines(store, self, deadline=deadline)
        self._names: dict[tuple[str, str], AskedList] = {}
        self._lists: dict[bytes, AskedList] = {}  # by each key whose change concerns it
        self._resolving: dict[AskedList, asyncio.Task[AskedList | None]] = {}
        self._tasks = Tasks(_failed)

    @property
    def trouble(self) -> State | None:
        """What stands against answers from the store."""
        if not self._lines.are_up:
            return State.STORE_DOWN
        return State.STORE_EMPTIED if self._registry.was_emptied else None

    @property
    def remembered(self) -> int:
        """How many answers are remembered."""
        return len(self._remembered)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect, and follow what lists and aliases there are, while the block runs."""
        following = asyncio.create_task(self._registry.follow())
        try:
            await self._lines.open(seconds=_OPEN_SECONDS)
            with contextlib.suppress(TimeoutError):
                if self._lines.are_up:
                    await asyncio.wait_for(self._registry.was_read.wait(), _OPEN_SECONDS)
            yield
        finally:
            await end(following)
            await self._tasks.end()
            await self._lines.aclose()

    def list_named(self, account: str, name: str) -> AskedList | None:
        """The list that `name`, an id or an alias, stands for now; None where it can't be a name of one."""
        found = self._names.get((account, name))
        if found is not None:
            return found
        if not is_account(account) or not is_list_id(name):
            return None
        if len(self._names) >= _MOST_LISTS:
            self._names.clear()
        found = self._names[account, name] = self._list(account, self._registry.list_id(account, name))
        return found

    def ask(self, asked: AskedList, question: Question, check: Check) -> None:
        """Ask whether `asked` has it; `check` is told, now or within the deadline."""
        lines = self._lines
        if asked.generation != lines.generation:
            asked.line, asked.generation = lines.line_of(asked), lines.generation
        line = asked.line
        against = State.STORE_DOWN if line is None else line.ask(asked, question, check)
        if against is not None:
            check.told(self._last_known(asked, question, against))

    async def answer(self, asked: AskedList, question: Question) -> State:
        """`ask` for those who can await the answer."""
        waiting = _Waiting()
        self.ask(asked, question, waiting)
        return await waiting.answer

    async def check(self, account: str, name: str, readings: Sequence[bytes]) -> State:
        """Whether any of `readings` (the values that a text may stand for) is in the list called `name`."""
        asked = self.list_named(account, name)
        if asked is None or not readings:
            return State.UNKNOWN_LIST
        return await self.answer(asked, question_of(readings))

    # What a line asks and tells.

    def changed(self, key: bytes) -> None:
        asked = self._lists.get(key)
        if asked is None:
            return
        if self._registry.was_emptied or asked.trouble is not None:
            asked.has_changed = True  # it is being built again: until it is whole, nothing better is known
        else:
            asked.forget()

    def is_same_store(self, identity: bytes | None) -> bool:
        return self._registry.is_same_store(identity)

    def not_known(self, asked: AskedList, question: Question, check: Check, state: State) -> None:
        if state is State.UNKNOWN_LIST and not self._registry.has_list(asked.account, asked.list_id):
            self._look_up(asked, question, check)
            return
        check.told(self._last_known(asked, question, State.LOST_LIST if state is State.UNKNOWN_LIST else state))

    def moved(self, asked: AskedList, question: Question, check: Check) -> None:
        """Another node has the list: redis-py follows it there, and learns where."""
        look_again(self._store)
        self._tasks.begin(self._ask_elsewhere(asked, question, check))

    def failed(self, line: Line) -> None:
        del line
        look_again(self._store)
        self._lines.look_again()

    def _last_known(self, asked: AskedList, question: Question, state: State) -> State:
        """What to say where the store can't: what was right when it was last heard, or why nothing can be said."""
        line = asked.line
        if state is State.INACTIVE_LIST or line is None:
            return state
        lost = state in _LOST or self._registry.was_emptied
        if not lost and (asked.has_changed or asked.epoch != line.epoch):
            return state  # the store was heard since, though not about this list
        if asyncio.get_running_loop().time() - (asked.right_at if lost else line.heard_at) > self._serve_stale_for:
            return state
        found = self._remembered.get(hash(question) ^ asked.salt)
        if found is None:
            return state
        return State.STALE_IN if found else State.STALE_NOT_IN

    def _list(self, account: str, list_id: str) -> AskedList:
        asked = AskedList(account, list_id)
        known = self._lists.get(asked.key)
        if known is not None:
            return known
        if len(self._lists) >= 2 * _MOST_LISTS:
            self._lists.clear()
            self._forget_names()
        self._lists[asked.key] = self._lists[asked.about] = asked
        return asked

    def _lists_changed(self) -> None:
        self._forget_names()
        self._lines.look_again()

    def _forget_names(self) -> None:
        self._names.clear()
        for tell in self.when_names_change:
            tell()

    def _look_up(self, asked: AskedList, question: Question, check: Check) -> None:
        """A list that nobody knows may be an alias that is new: look once more before saying so."""
        looking = self._resolving.get(asked)
        if looking is None:
            looking = self._resolving[asked] = self._tasks.begin(self._resolve(asked))
            looking.add_done_callback(lambda _: self._resolving.pop(asked, None))
        self._tasks.begin(self._ask_again(looking, question, check))

    async def _resolve(self, asked: AskedList) -> AskedList | None:
        list_id = await self._registry.look_up(asked.account, asked.list_id)
        return None if list_id is None else self._list(asked.account, list_id)

    async def _ask_again(self, looking: asyncio.Task[AskedList | None], question: Question, check: Check) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                target = await asyncio.shield(looking)
        except STORE_ERRORS:
            check.told(State.STORE_DOWN)
            return
        if target is None:
            check.told(State.UNKNOWN_LIST)
        else:
            self.ask(target, question, check)

    async def _ask_elsewhere(self, asked: AskedList, question: Question, check: Check) -> None:
        # It may be about to open a connection, which takes longer than a check may. If it were given up, the next
        # check would begin anew, and none would ever get through.
        asking = self._tasks.begin(self._state_elsewhere(asked, question))
        try:
            async with asyncio.timeout(self._deadline):
                state = await asyncio.shield(asking)
        except STORE_ERRORS:
            state = self._last_known(asked, question, State.STORE_DOWN)
        except Exception:
            log.exception("a check that another node has to answer failed")
            state = State.ERROR
        finally:
            self._lines.look_again()
        check.told(state)

    async def _state_elsewhere(self, asked: AskedList, question: Question) -> State:
        active = await self._store.execute_command("HGET", asked.about, "active")
        values = (question,) if isinstance(question, bytes) else question
        found = await self._store.execute_command("SMISMEMBER", asked.key, *values)
        if active != b"1":
            return State.UNKNOWN_LIST if active is None else State.INACTIVE_LIST
        return State.IN if any(found) else State.NOT_IN


def question_of(readings: Sequence[bytes]) -> Question:
    """The question whether any of `readings`, of which there is one at least, is in a list."""
    return readings[0] if len(readings) == 1 else tuple(readings)


def _failed(error: BaseException) -> None:
    if not isinstance(error, STORE_ERRORS):
        log.error("a check failed", exc_info=error)


class _Waiting:
    """A check whose asker awaits the answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[State] = asyncio.get_running_loop().create_future()

    def told(self, state: State) -> None:
        if not self.answer.done():
            self.answer.set_result(state)
