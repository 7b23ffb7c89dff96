"""Clients that ask from a process of their own, so that neither side waits for the other's processor time.

Such a program gets its job as the first line of its standard input, writes a line of JSON for whatever it has to tell,
and stops at the input's end.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

import uvloop

from tests.support.processes import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_LONGEST_JOB = 16 * 1024 * 1024  # bytes


class ClientProcess:
    """`python -m MODULE` at work on `job` while the block runs. `told` gets each line, in a thread of its own."""

    def __init__(self, module: str, job: dict[str, Any], told: Callable[[Any], None]) -> None:
        self._module = module
        self._job = json.dumps(job)
        self._told = told
        self._reading = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            cwd=ROOT,
            env=environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(self._job + "\n")
        self._process.stdin.flush()
        self._reading.start()
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._reading.join()
        self._process.wait()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._told(json.loads(line))


def tell(what: Any) -> None:
    """The program's side: `environment` has every line leave at once."""
    sys.stdout.write(json.dumps(what) + "\n")


def work(run: Callable[[Any, asyncio.Task[bytes]], Awaitable[None]]) -> None:
    """All that the program does: `run` gets the job, and a task that is done once it shall stop."""
    gc.disable()
    uvloop.run(_work(run))


async def _work(run: Callable[[Any, asyncio.Task[bytes]], Awaitable[None]]) -> None:
    reader = asyncio.StreamReader(limit=_LONGEST_JOB)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    job = json.loads(await reader.readline())
    await run(job, asyncio.create_task(reader.read()))
