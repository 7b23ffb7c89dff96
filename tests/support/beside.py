"""What a bad answer does to a program that gets it: how long others wait beside it, and how much memory it takes."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Program

# Between a program that is busy on a busy machine, and one whose event loop stands still for an answer.
LONGEST_SECONDS = 3.0
MOST_MEMORY = 200 * 1024  # kB more than before; what was seen without bounds took gigabytes


@contextlib.contextmanager
def unharmed(program: Program, path: str = "/healthz") -> Iterator[None]:
    """Ask for `path` all the time while the block runs; others are answered, and the memory stays what it was."""
    with httpx.Client(base_url=program.addresses[-1], timeout=60) as client:
        client.get(path)
        before, over, slowest = _most_memory(program.pid), threading.Event(), list[float]()

        def ask() -> None:
            is_over = False
            while not is_over:  # once at least, however short the block is
                began = time.monotonic()
                client.get(path).raise_for_status()
                slowest.append(time.monotonic() - began)
                is_over = over.wait(0.01)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield
        finally:
            over.set()
            asking.join()
        assert slowest, "somebody was answered"
        assert max(slowest) < LONGEST_SECONDS, f"somebody waited {max(slowest):.1f} s"
        grown = _most_memory(program.pid) - before
        assert grown < MOST_MEMORY, f"{grown // 1024} MB more than before"


def _most_memory(pid: int) -> int:
    """The most that a process ever had, in kB."""
    return int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
