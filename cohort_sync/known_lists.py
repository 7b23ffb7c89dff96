"""The lists that this receiver has seen in the store, kept beside the store: a list that is gone can then be missed."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from attribute_lists import keys

if TYPE_CHECKING:
    from pathlib import Path

    from foundation.store import Store

ListName = tuple[str, str]


class KnownLists:
    """Raises the store's errors. A file that can't be read or written is no reason to stop: it is made again."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._path = path
        self._known = _read(path)

    async def missing(self) -> list[ListName]:
        """Known lists whose description is gone, though nobody deleted them (a deletion leaves its marks)."""
        names = sorted(self._known)
        pipeline = self._store.pipeline(transaction=False)
        for name in names:
            pipeline.execute_command("EXISTS", keys.about(*name))
            pipeline.execute_command("EXISTS", keys.applied(*name))
        answers = await pipeline.execute() if names else []
        states = list(zip(names, answers[::2], answers[1::2], strict=True))
        for name, there, marked in states:
            if marked and not there:
                self._known.discard(name)
        return [name for name, there, marked in states if not there and not marked]

    def update(self, present: list[ListName]) -> None:
        """Lists that are in the store now."""
        if not self._known >= set(present):
            self._known.update(present)
            _write(self._path, self._known)


def _read(path: Path) -> set[ListName]:
    try:
        rows = json.loads(path.read_text())
        return {(str(account), str(list_id)) for account, list_id in rows}
    except (OSError, ValueError, TypeError):
        return set()


def _write(path: Path, known: set[ListName]) -> None:
    aside = path.with_suffix(".unfinished")
    with contextlib.suppress(OSError):
        aside.write_text(json.dumps(sorted(known)))
        aside.replace(path)
