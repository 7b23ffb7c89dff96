"""A stream works the same on a cluster, under Sentinel and as a restricted user, through the loss of a server."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any

import pytest

from event_stream.consumer import Consumer
from event_stream.delivery import Delivered, Delivery, Verdict
from event_stream.writer import Fate, Writer
from foundation.settings import ServiceSettings
from foundation.store import connect
from tests.event_stream.conftest import Counts, a_stream, append, events
from tests.support.cluster import running_cluster
from tests.support.ports import free_ports
from tests.support.processes import ROOT
from tests.support.sentinel import replicated_store
from tests.support.servers import Server
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from event_stream.stream import Record
    from foundation.store import Store

SetUp = tuple["Mapping[str, str]", "Callable[[str], None]"]  # settings, and what kills the server that has a key


@contextlib.contextmanager
def restricted(directory: Path) -> Iterator[SetUp]:
    """One server, and a user who may do there what docs/redis.md lists; it comes back when it was killed."""
    rules = re.search(r"ACL SETUSER cohort-gateway (.+)", (ROOT / "docs" / "redis.md").read_text())
    assert rules is not None
    server = Server(directory / "server", free_ports(1)[0])

    def start() -> None:
        server.start("--appendonly", "yes", "--user", "cohort-gateway", *rules[1].split())

    def restart(_: str) -> None:
        server.kill()
        start()

    start()
    try:
        yield {"REDIS_URL": f"redis://cohort-gateway:a-long-password@127.0.0.1:{server.port}"}, restart
    finally:
        server.kill()


@pytest.fixture(params=["cluster", "sentinel", "restricted user"])
def set_up(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SetUp]:
    if request.param == "restricted user":
        with restricted(tmp_path) as found:
            yield found
    elif request.param == "cluster":
        with running_cluster(tmp_path, replicas=3) as cluster:
            yield cluster.settings, lambda key: cluster.primary_of(key).kill()
    else:
        with replicated_store(tmp_path) as replicated:
            yield replicated.settings, lambda _: replicated.master().kill()


def a_store(settings: Mapping[str, str]) -> Store:
    """As the gateway has it."""
    named: dict[str, Any] = {name.lower(): value for name, value in settings.items()}
    return connect(ServiceSettings(**named), timeout=1, connect_timeout=1, retries=0)


async def test_everything_that_is_done_with_a_stream(set_up: SetUp, counts: Counts) -> None:
    settings, kill = set_up
    store = a_store(settings)
    stream = a_stream(store)
    got: list[bytes] = []

    async def send(place: str, records: Sequence[Record]) -> Verdict:
        del place
        got.extend(record.body for record in records)
        return Delivered()

    await append(stream, events("bad", "of alice"))
    taken = await Consumer(stream, claim_after=60).take(1)
    await stream.bury([record.id for record in taken], "refused")
    assert await stream.erase(lambda record: record.body == b"of alice") == 1
    assert await stream.count_dead() == {"refused": 1}
    assert await stream.retry() == {"refused": 1}
    assert (await stream.status()).waiting == 1

    writer = Writer(stream, patience=0.1, count=counts)
    delivery = Delivery(Consumer(stream, claim_after=60), send, most_at_once=10, linger=0.01, count=counts)
    async with writer.running(), delivery.running():
        assert await writer.write(events("before")) is Fate.STORED
        await eventually(lambda: _is(got == [b"bad", b"before"]))
        await asyncio.to_thread(kill, stream.entries)
        fates = [await writer.write(events(number)) for number in range(20)]
        assert Fate.DROPPED not in fates
        await eventually(lambda: _is(len(set(got)) == 22), seconds=30, what="the events to arrive")
    assert sorted(set(got)) == sorted([b"bad", b"before", *(b"%d" % number for number in range(20))])
    assert [body for body in got if body.isdigit()] == sorted((b"%d" % n for n in range(20)), key=int)
    await store.aclose()


async def _is(what: bool) -> bool:
    return what
