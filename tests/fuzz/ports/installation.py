"""The whole set under fuzz: a store, the gateway, cohort-sync and heap-export with both ports, and a fake Heap."""

from __future__ import annotations

import contextlib
import mmap
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from tests.fuzz.gateway_settings import gateway_of
from tests.fuzz.ports.routes import SMUGGLED
from tests.fuzz.requests import SECRET
from tests.fuzz.run import settings
from tests.gateway.deciding import TOKEN
from tests.heap_export.conftest import settings_for
from tests.support.fake_heap_api import FakeHeap, fake_heap
from tests.support.heap import Heap
from tests.support.processes import Program, cohort_sync, heap_export, running_store, wait_until_recovered

if TYPE_CHECKING:
    from collections.abc import Iterator

_SAMPLE_SECONDS = 0.2
_ERROR = re.compile(r"[^\n]* ERROR |Traceback")
_LONGEST_SHOWN = 4000  # characters of a log
_RESIDENT = re.compile(r"VmRSS:\s+(\d+)")


class Memory(NamedTuple):
    """MiB of a process."""

    before: int
    after: int
    most: int


@dataclass
class Installation:
    """`addresses`: by the names of the ports. `pids`: by the names of the processes."""

    addresses: dict[str, str]
    programs: dict[str, Program]
    pids: dict[str, int]
    store_directory: Path
    heap: FakeHeap

    def program_of(self, port: str) -> Program:
        return self.programs[port.removesuffix("-admin")]

    def smuggled(self, port: str) -> set[int]:
        """The numbers of the conversations with that port whose planted requests were taken for requests."""
        name = re.compile(SMUGGLED.encode() + port.encode() + rb"-(\d+)")
        found = {number for taken in list(self.heap.events) for number in name.findall(taken.identity.encode())}
        for file in self.store_directory.glob("appendonlydir/*.incr.aof"):  # what waits to be delivered, too
            with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as written:
                found.update(name.findall(written))
        return set(map(int, found))

    def trouble(self) -> str:
        """What the processes say that they mind, since this was asked last."""
        for name, program in self.programs.items():
            log = program.log()
            program.lines.clear()
            if not program.process.is_alive():
                return f"{name} ended:\n{log[-_LONGEST_SHOWN:]}"
            if found := _ERROR.search(log):
                return f"the log of {name} holds errors:\n{log[found.start() :][:_LONGEST_SHOWN]}"
        return ""


@contextlib.contextmanager
def installation() -> Iterator[Installation]:
    """The set on free ports, ready. Senders have time enough, on a busy machine too."""
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(running_store("--appendfsync", "no"))
        gateway = stack.enter_context(gateway_of(store))
        heap = stack.enter_context(fake_heap())
        of_export = settings_for(store.url, heap) | {"EVENTS_SECONDS": "9", "ADMIN_TOKEN": TOKEN}
        of_sync = settings(store.url) | {"WEBHOOK_SECONDS": "18", "ADMIN_TOKEN": TOKEN}
        sync = stack.enter_context(cohort_sync(store.directory, of_sync))
        export = stack.enter_context(heap_export(store.directory, of_export))
        wait_until_recovered(sync)
        sender = Heap(sync.address, secret=SECRET)
        for segment in range(3):  # the administration's requests are about these
            assert sender.sync(["user1"], segment_id=segment, name=f"Segment {segment}").is_success
        yield Installation(
            addresses={
                "gateway": gateway.program.address,
                **dict(zip(("cohort-sync", "cohort-sync-admin"), sync.addresses, strict=False)),
                **dict(zip(("heap-export", "heap-export-admin"), export.addresses, strict=False)),
            },
            programs={"gateway": gateway.program, "cohort-sync": sync, "heap-export": export},
            pids={
                "gateway": gateway.program.pid,
                "cohort-sync": sync.pid,
                "heap-export": export.pid,
                "store": store.pid,
            },
            store_directory=store.directory,
            heap=heap,
        )


@dataclass
class MemoryWatch:
    """Samples the memory of processes while the block runs."""

    pids: dict[str, int]
    samples: dict[str, list[int]] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self.samples = {name: [resident(pid)] for name, pid in self.pids.items()}
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def found(self) -> dict[str, Memory]:
        return {name: Memory(each[0], each[-1], max(each)) for name, each in self.samples.items()}

    def _sample(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            for name, pid in self.pids.items():
                with contextlib.suppress(FileNotFoundError):  # it ended
                    self.samples[name].append(resident(pid))


def resident(pid: int) -> int:
    """MiB of a process that are in memory."""
    found = _RESIDENT.findall(Path(f"/proc/{pid}/status").read_text())
    return int(found[0]) // 1024 if found else 0
