"""Names that no list is known by: whether they are aliases is looked up, and remembered for a moment where they aren't.

They come from strangers, in any number. So they are kept apart from the lists that there are, those asked again apart
from those asked once; each takes 2.5 KB at the most. That there is no such list is known until the store tells of a
change over a connection of the checks, or of one that was missed; without such word it is asked each time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from attribute_lists import keys
from attribute_lists.lists import AskedList

if TYPE_CHECKING:
    from attribute_lists.hash_lookups import Found, HashLookups
    from attribute_lists.lines import Lines

_KEPT_SECONDS = 1.0
_MOST_OF_A_KIND = 2048
_REGISTRY = frozenset((keys.REGISTRY_LISTS.encode(), keys.REGISTRY_ALIASES.encode()))
_START, _ABOUT = keys.about("ACCOUNT", "LIST").encode().split(b"ACCOUNT:LIST")

_Name = tuple[str, str]  # account, list id or alias


class UnknownName:
    """What is known of a name, in the place where a list has nothing.

    `lookup`: the newest one, whose answer holds for what had changed `as_of` then; `until`: when to look again (the
    loop's clock), if nothing has changed by then.
    """

    __slots__ = ("as_of", "lookup", "name", "until")

    def __init__(self, account: str, name: str) -> None:
        self.name = keys.qualified(account, name)
        self.lookup: asyncio.Future[Found] | None = None
        self.as_of = 0
        self.until = 0.0


class UnknownNames:
    """`lookups`: of aliases. `lines` have to tell of every change."""

    def __init__(self, lookups: HashLookups, lines: Lines) -> None:
        self._lookups = lookups
        self._lines = lines
        self._changes = 0
        self._once: OrderedDict[_Name, AskedList] = OrderedDict()
        self._again: OrderedDict[_Name, AskedList] = OrderedDict()

    def get(self, account: str, name: str) -> AskedList | None:
        """What was given for `name` before."""
        found = self._again.pop((account, name), None) or self._once.pop((account, name), None)
        if found is not None:
            _put(self._again, found)
        return found

    def add(self, account: str, list_id: str) -> AskedList:
        """What a check asks that names no list, as if there were one."""
        asked = AskedList(account, list_id)
        asked.unknown = UnknownName(account, list_id)
        _put(self._once, asked)
        return asked

    def drop(self, asked: AskedList) -> None:
        """There is such a list."""
        for table in (self._again, self._once):
            table.pop((asked.account, asked.list_id), None)

    def clear(self) -> None:
        """There are other lists and aliases than before."""
        self._again.clear()
        self._once.clear()
        self._changes += 1

    def look_up(self, unknown: UnknownName) -> None:
        """See to it that `lookup` is newer than the question."""
        if unknown.lookup is None or unknown.lookup.done():
            unknown.as_of, unknown.until = self._changes, 0.0
            unknown.lookup = self._lookups.get(unknown.name)

    def is_none(self, unknown: UnknownName) -> bool:
        """Whether it is known to be no name of a list, without asking anybody."""
        return (
            unknown.until > asyncio.get_running_loop().time()
            and unknown.as_of == self._changes
            and self._lines.tell_of_changes
        )

    def found_none(self, unknown: UnknownName) -> None:
        """Neither a list nor an alias was found, since `look_up` was called."""
        unknown.until = asyncio.get_running_loop().time() + _KEPT_SECONDS

    def changed(self, key: bytes) -> None:
        """A key changed that belongs to no list that is known."""
        if key in _REGISTRY:
            self.all_may_have_changed()
        elif key.endswith(_ABOUT):
            account, _, list_id = key[len(_START) : -len(_ABOUT)].decode("utf-8", "replace").partition(":")
            if (account, list_id) in self._again or (account, list_id) in self._once:
                self.all_may_have_changed()

    def all_may_have_changed(self) -> None:
        self._changes += 1


def _put(table: OrderedDict[_Name, AskedList], asked: AskedList) -> None:
    if len(table) >= _MOST_OF_A_KIND:
        table.popitem(last=False)
    table[asked.account, asked.list_id] = asked
