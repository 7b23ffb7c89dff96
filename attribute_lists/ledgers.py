"""Ledgers as they are kept in Redis: fields of a hash, read at need, written by guarded steps.

`version`: text; `base`, `drained`, `dirty`; `t:<task>`: a JSON row of the task; `p:<digest>`: a JSON row of a page.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, cast

import msgspec

from attribute_lists.order import Ledger, Mode, PageNote, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from attribute_lists.scripts import ListScripts

_MOST_KEPT = 64  # ledgers in memory; one that is not there costs a read

_encode = msgspec.json.Encoder().encode
_task_row = msgspec.json.Decoder(tuple[int, str, int, int, bool, bool, bool, bool]).decode
_page_row = msgspec.json.Decoder(tuple[str, int, int, int, bool]).decode


def fields_of(
    ledger: Ledger, *, tasks: Iterable[Task] = (), pages: Iterable[str] = (), forgotten: Iterable[Task] = ()
) -> dict[str, str]:
    """What a step writes: the head always, and the rows of the `tasks` and `pages` (digests) that it touches.

    An empty value deletes the field.
    """
    fields = {
        "base": _encode([ledger.base_at, ledger.base_task]).decode() if ledger.base_at >= 0 else "",
        "drained": str(ledger.drained_at) if ledger.drained_at >= 0 else "",
        "dirty": "1" if ledger.dirty else "",
    }
    for task in tasks:
        row = (task.at, task.mode, task.total, task.last_page, task.swapped, task.resettle, task.held, task.accepted)
        fields[f"t:{task.id}"] = _encode(row).decode()
    for digest in pages:
        page = ledger.note_of(digest)
        if page is not None:
            page_row = (page.task, page.number, page.adds, page.removes, page.done)
            fields[f"p:{digest}"] = _encode(page_row).decode()
    for task in forgotten:
        fields[f"t:{task.id}"] = ""
        fields |= {f"p:{digest}": "" for digest in task.pages}
    return fields


def ledger_from(fields: dict[str, str], mode: str | None, erased: dict[bytes, int]) -> Ledger:
    ledger = Ledger(version=fields.get("version", ""), mode=cast("Mode", mode or "delta"), erased=erased)
    if "base" in fields:
        ledger.base_at, ledger.base_task = msgspec.json.decode(fields["base"], type=tuple[int, str])
    ledger.drained_at = int(fields.get("drained", -1))
    ledger.dirty = "dirty" in fields
    for name, value in fields.items():
        if name.startswith("t:"):
            at, task_mode, total, last_page, swapped, resettle, held, accepted = _task_row(value)
            task_id = name[2:]
            ledger.tasks[task_id] = Task(
                task_id, at, cast("Mode", task_mode), total, last_page, swapped, resettle, held, accepted
            )
    for name, value in fields.items():
        if name.startswith("p:"):
            note = PageNote(*_page_row(value))
            if note.task in ledger.tasks:
                ledger.tasks[note.task].pages[name[2:]] = note
    return ledger


class Ledgers:
    """The ledgers in memory. One of them is right while its version is the store's, which every step checks."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Ledger] = OrderedDict()

    async def take(self, name: tuple[str, str], scripts: ListScripts) -> Ledger:
        """The list's ledger, for its taker to change: it is gone from here until it is kept again.

        So one that was changed, while the change failed, is never seen by anybody.
        """
        kept = self._kept.pop(name, None)
        return kept if kept is not None else ledger_from(*await scripts.load())

    def keep(self, name: tuple[str, str], ledger: Ledger) -> None:
        self._kept[name] = ledger
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
