"""The write sides that the promises are asked of, and how a test says which of them it holds for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest


@dataclass(frozen=True)
class WriteSide:
    """`settings`: what chooses it. `patience`: seconds by which it has mended what it can mend.

    `promptness`: seconds by which an acknowledged change is in the list where nothing is broken.
    `knows_runs`: a task id may be used again. `mends_keys`: it notices the loss of single keys. `knows_its_lists`:
    also while the store is empty. `replays_commands`: it may carry one out again after a later one. `checkpoints`: it
    writes some on command. `receivers`: how many may share a `DATA_DIR`.
    """

    name: str
    settings: dict[str, str] = field(default_factory=dict)
    patience: float = 10.0
    promptness: float = 10.0
    knows_runs: bool = True
    mends_keys: bool = True
    knows_its_lists: bool = True
    replays_commands: bool = False
    checkpoints: bool = False
    receivers: int = 1


FILES = WriteSide(
    "files",
    {"WRITE_SIDE": "journal"},
    patience=20.0,
    promptness=5.0,
    knows_runs=False,
    mends_keys=False,
    knows_its_lists=False,
    replays_commands=True,
    checkpoints=True,
    receivers=2,
)
# Where it is known to break a promise. It looks at the store every two seconds: what two looks do not mend stays.
_BROKEN_FILES = replace(FILES, patience=4.5, promptness=0.5)
DATABASE = WriteSide("database", {"WRITE_SIDE": "database"})
SIDES = {side.name: side for side in (FILES, DATABASE)}

_DATABASE = pytest.param(DATABASE, id="database")

either_side = pytest.mark.parametrize("side", [pytest.param(FILES, id="files"), _DATABASE])


def fails_on_files(reason: str) -> pytest.MarkDecorator:
    """Both write sides; the old one is known to break this promise, and to wait for that is no news on every run."""
    broken = [pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError), pytest.mark.slow]
    return pytest.mark.parametrize("side", [pytest.param(_BROKEN_FILES, id="files", marks=broken), _DATABASE])
