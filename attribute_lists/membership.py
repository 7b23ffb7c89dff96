"""Answer membership: is this value in that list?

While the store answers, every answer comes from the store. What it said is remembered for the time when it can't say.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING

from attribute_lists import keys
from attribute_lists.hash_lookups import HashLookups
from attribute_lists.lines import Lines
from attribute_lists.lists import AskedList
from attribute_lists.names import is_account, is_list_id
from attribute_lists.redirects import Redirects
from attribute_lists.registry import Registry
from attribute_lists.remembered import Remembered
from attribute_lists.states import State
from attribute_lists.unknown_names import UnknownNames
from foundation.background import keep_running
from foundation.store import look_again
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from attribute_lists.batches import Check
    from attribute_lists.hash_lookups import Found
    from attribute_lists.line import Line
    from attribute_lists.lists import Question
    from foundation.store import Store

_MOST_LISTS = 4096  # that are kept ready; one that is not costs 20 µs
_OPEN_SECONDS = 1.0
_LOST = frozenset((State.UNKNOWN_LIST, State.STORE_EMPTIED, State.LOST_LIST))


class Membership:
    """The checks of one process. `deadline`: seconds that the store has for an answer.

    `remember`: how many answers are remembered; `serve_stale_for`: seconds for which they are given while the store
    can't answer. `note_lookups` is told what stood against looking up how many names; None: nothing. It never raises
    for a sick store.
    """

    def __init__(
        self,
        store: Store,
        *,
        deadline: float = 0.1,
        remember: int = 200_000,
        serve_stale_for: float = 3600,
        note_lookups: Callable[[State | None, int], object] = lambda _, __: None,
    ) -> None:
        self.when_names_change: list[Callable[[], None]] = []  # called when one may stand for another list
        self._store = store
        self._serve_stale_for = serve_stale_for
        self._remembered = Remembered(remember if serve_stale_for > 0 else 0)
        self.remember = self._remembered.put  # a line tells each answer
        self._registry = Registry(store, changed=self._lists_changed)
        self.lines = Lines(store, self, deadline=deadline)
        self._names: dict[tuple[str, str], AskedList] = {}
        self._lists: dict[bytes, AskedList] = {}  # by each key whose change concerns it
        self._aliases = HashLookups(self.lines, keys.REGISTRY_ALIASES, note=note_lookups)
        self._unknown = UnknownNames(self._aliases, self.lines)
        self._redirects = Redirects(self.lines, tell=self._redirected)

    @property
    def trouble(self) -> State | None:
        """What stands against answers from the store."""
        if not self.lines.are_up:
            return State.STORE_DOWN
        return State.STORE_EMPTIED if self._registry.was_emptied else None

    @property
    def receiver_reasons(self) -> Sequence[str]:
        """What is wrong with who writes the lists, as it says itself."""
        return self._registry.receiver.reasons

    @property
    def remembered(self) -> int:
        """How many answers are remembered."""
        return len(self._remembered)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect, and follow what lists and aliases there are, while the block runs."""
        following = keep_running("lists and aliases", self._registry.follow)
        try:
            await self.lines.open(seconds=_OPEN_SECONDS)
            with contextlib.suppress(TimeoutError):
                if self.lines.are_up:
                    await asyncio.wait_for(self._registry.was_read.wait(), _OPEN_SECONDS)
            yield
        finally:
            await end(following)
            await self._redirects.aclose()
            await self._aliases.aclose()
            await self.lines.aclose()

    def list_named(self, account: str, name: str) -> AskedList | None:
        """The list that `name`, an id or an alias, stands for now; None where it can't be a name of one."""
        found = self._names.get((account, name)) or self._unknown.get(account, name)
        if found is not None:
            return found
        if not is_account(account) or not is_list_id(name):
            return None
        list_id = self._registry.list_id(account, name)
        found = self._known(account, list_id)
        if found is None:
            return self._unknown.get(account, list_id) or self._unknown.add(account, list_id)
        if len(self._names) >= _MOST_LISTS:
            self._names.clear()
        self._names[account, name] = found
        return found

    def ask(self, asked: AskedList, question: Question, check: Check) -> None:
        """Ask whether `asked` has it; `check` is told, soon or within the deadline."""
        lines = self.lines
        if asked.generation != lines.generation:
            asked.line = lines.line_to(asked.slot)
            unknown = asked.unknown
            if unknown is None:
                asked.generation = lines.generation
            elif self._unknown.is_none(unknown):
                # Not in this turn: word of a change may have come with the question, and not be read yet.
                asyncio.get_running_loop().call_soon(self._tell_none, asked, question, check)
                return
            else:
                self._unknown.look_up(unknown)
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
            self._unknown.changed(key)
        elif self._registry.was_emptied or asked.trouble is not None or key == asked.about:
            # It is being built again: until it is whole, nothing better is known. Where only `about` changed, it may be
            # gone, or name what is built: the next answer says whether what is remembered still counts.
            asked.has_changed = True
        else:
            asked.forget()

    def found(self, asked: AskedList) -> None:
        """There is such a list, though it was an unknown name."""
        asked.unknown = None
        self._unknown.drop(asked)
        if asked.key not in self._lists:
            self._keep(asked)

    def is_same_store(self, identity: bytes | None) -> bool:
        is_same = self._registry.is_same_store(identity)
        if not is_same:
            self._unknown.all_may_have_changed()
        return is_same

    def not_known(self, asked: AskedList, question: Question, check: Check, state: State) -> None:
        if state is State.UNKNOWN_LIST:
            if not self._registry.has_list(asked.account, asked.list_id):
                self._not_there(asked, question, check)
                return
            state = State.LOST_LIST
        elif state is State.INACTIVE_LIST:
            if asked.unknown is not None:
                self.found(asked)
            elif asked.has_changed:
                asked.forget()
        check.told(self._last_known(asked, question, state))

    def moved(self, asked: AskedList, question: Question, check: Check) -> None:
        self._redirects.ask(asked, question, check)

    def failed(self, line: Line) -> None:
        del line
        self._unknown.all_may_have_changed()
        look_again(self._store)
        self.lines.look_again()

    def _redirected(self, asked: AskedList, question: Question, check: Check, state: State) -> None:
        if state in (State.IN, State.NOT_IN):
            check.told(state)
        else:
            self.not_known(asked, question, check, state)

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

    def _known(self, account: str, list_id: str) -> AskedList | None:
        """The list, if there is one: the registry has it, or it answered."""
        asked = self._lists.get(keys.members(account, list_id).encode())
        if asked is None and self._registry.has_list(account, list_id):
            asked = AskedList(account, list_id)
            self._keep(asked)
        return asked

    def _keep(self, asked: AskedList) -> None:
        if len(self._lists) >= 2 * _MOST_LISTS:
            self._lists.clear()
            self._forget_names()
        self._lists[asked.key] = self._lists[asked.about] = asked

    def _lists_changed(self) -> None:
        self._unknown.clear()
        self._forget_names()
        self.lines.look_again()

    def _forget_names(self) -> None:
        self._names.clear()
        for tell in self.when_names_change:
            tell()

    def _not_there(self, asked: AskedList, question: Question, check: Check) -> None:
        """The store has no such list: perhaps an alias is called so."""
        if asked.unknown is not None:
            lookup = asked.unknown.lookup
            assert lookup is not None  # noqa: S101 - it began with the question
            if lookup.done():
                self._looked_up(asked, question, check, lookup)
            else:
                lookup.add_done_callback(functools.partial(self._looked_up, asked, question, check))
        elif self._lists.get(asked.key) is asked:  # it was deleted
            del self._lists[asked.key], self._lists[asked.about]
            self._forget_names()
            self.ask(self._unknown.add(asked.account, asked.list_id), question, check)
        else:
            check.told(State.UNKNOWN_LIST)

    def _looked_up(self, asked: AskedList, question: Question, check: Check, lookup: asyncio.Future[Found]) -> None:
        found, unknown = lookup.result(), asked.unknown
        if isinstance(found, State):
            check.told(found)
            return
        (target,) = found
        if target is not None:
            list_id = target.decode()
            self._registry.learn(asked.account, asked.list_id, list_id)
            self.ask(self._known(asked.account, list_id) or AskedList(asked.account, list_id), question, check)
            return
        if unknown is not None:
            self._unknown.found_none(unknown)
        check.told(State.UNKNOWN_LIST)

    def _tell_none(self, asked: AskedList, question: Question, check: Check) -> None:
        if asked.unknown is not None and self._unknown.is_none(asked.unknown):
            check.told(State.UNKNOWN_LIST)
        else:
            self.ask(asked, question, check)


def question_of(readings: Sequence[bytes]) -> Question:
    """The question whether any of `readings`, of which there is one at least, is in a list."""
    return readings[0] if len(readings) == 1 else tuple(readings)


class _Waiting:
    """A check whose asker awaits the answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[State] = asyncio.get_running_loop().create_future()

    def told(self, state: State) -> None:
        if not self.answer.done():
            self.answer.set_result(state)
