"""A service with a probe in its event loop: `python -m tests.support.probed_service gateway serve`.

It says `held <milliseconds> at <monotonic clock>` of each turn of the loop that took long, in processor time: whatever
else the machine does meanwhile counts for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import runpy
import sys
import time
from typing import TYPE_CHECKING, Any

from foundation import serving
from tests.support.processes import running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.support.processes import Program

_TICK_SECONDS = 0.0005
_NOTABLE_SECONDS = 0.001

_LINE = re.compile(r"held ([\d.]+) ms at ([\d.]+)")
_serve = serving.serve


@contextlib.contextmanager
def probed(service: str, directory: Path, settings: Mapping[str, str]) -> Iterator[Program]:
    """`gateway` or `heap_export`, on free ports."""
    ports = dict.fromkeys(("PORT", "HEAP_EXPORT_PORT", "HEAP_EXPORT_ADMIN_PORT"), "0")
    defaults = {**ports, "DATA_DIR": str(directory / "data")}
    arguments = ["tests.support.probed_service", service, "serve"]
    with running(arguments, defaults | dict(settings), directory=directory) as program:
        yield program


def longest_turn(lines: Iterable[str], since: float = 0.0) -> float:
    """Milliseconds, by what such a service said from that moment on."""
    told = (_LINE.match(line) for line in lines)
    return max((float(found[1]) for found in told if found and float(found[2]) >= since), default=0.0)


async def _probe() -> None:
    used = time.thread_time()
    while True:
        await asyncio.sleep(_TICK_SECONDS)
        held = time.thread_time() - used
        if held > _NOTABLE_SECONDS:
            sys.stdout.write(f"held {held * 1e3:.1f} ms at {time.monotonic():.3f}\n")
        used = time.thread_time()


async def _serve_probed(*arguments: Any, **options: Any) -> None:
    probing = asyncio.create_task(_probe())
    try:
        await _serve(*arguments, **options)
    finally:
        probing.cancel()


if __name__ == "__main__":
    serving.serve = _serve_probed
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
