"""What is in a stream is delivered at least once and in order, or ends as a dead letter with its reason."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from event_stream.consumer import Consumer
from event_stream.delivery import Again, Delivered, Delivery, Refused, Verdict
from tests.event_stream.conftest import Counts, append, events
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from event_stream.stream import Record, Stream


class Receiver:
    """Takes events. `verdicts` answer as many requests first; batches with any of `bad` are refused."""

    def __init__(self, *verdicts: Verdict, bad: frozenset[bytes] = frozenset()) -> None:
        self.asked: list[list[bytes]] = []
        self.got: dict[str, list[bytes]] = defaultdict(list)
        self.verdicts = list(verdicts)
        self.blocked: set[str] = set()
        self.bad = bad

    async def send(self, place: str, records: Sequence[Record]) -> Verdict:
        bodies = [record.body for record in records]
        self.asked.append(bodies)
        if place in self.blocked:
            return Again("http_500")
        if self.verdicts:
            return self.verdicts.pop(0)
        if self.bad & set(bodies):
            return Refused("http_400", because_of_some=True)
        self.got[place] += bodies
        return Delivered()

    @property
    def all(self) -> list[bytes]:
        return [body for bodies in self.got.values() for body in bodies]


def delivery(
    stream: Stream,
    send: Callable[[str, Sequence[Record]], Awaitable[Verdict]],
    counts: Counts,
    *,
    most_at_once: int = 10,
    most_in_hand: int = 100,
    claim_after: float = 60,
) -> Delivery:
    return Delivery(
        Consumer(stream, claim_after=claim_after),
        send,
        most_at_once=most_at_once,
        linger=0.01,
        count=counts,
        most_in_hand=most_in_hand,
        longest_pause=0.05,
    )


async def is_empty(stream: Stream) -> bool:
    return (await stream.status()).waiting == 0


def numbered(*numbers: int) -> list[bytes]:
    return [b"%d" % number for number in numbers]


async def test_events_arrive_in_order_in_batches_of_one_place(stream: Stream, counts: Counts) -> None:
    receiver = Receiver()
    for number in range(25):
        await append(stream, events(number, to="even" if number % 2 == 0 else "odd"))
    async with delivery(stream, receiver.send, counts).running():
        await eventually(lambda: is_empty(stream))
    assert receiver.got == {"even": numbered(*range(0, 25, 2)), "odd": numbered(*range(1, 25, 2))}
    assert max(map(len, receiver.asked)) == 10
    assert counts.numbers == {"delivered": 25}


async def test_what_fails_is_tried_again_before_anything_newer(stream: Stream, counts: Counts) -> None:
    receiver = Receiver(Again("timeout"), Again("http_503"), Again("http_429", after=0.01))
    await append(stream, events(*range(15)))
    async with delivery(stream, receiver.send, counts).running():
        await eventually(lambda: is_empty(stream))
    assert receiver.asked == [numbered(*range(10))] * 4 + [numbered(*range(10, 15))]
    assert counts.numbers == {"retried timeout": 10, "retried http_503": 10, "retried http_429": 10, "delivered": 15}


async def test_a_place_that_fails_does_not_hold_up_the_others(stream: Stream, counts: Counts) -> None:
    receiver = Receiver()
    receiver.blocked.add("broken")
    for number in range(10):
        await append(stream, events(number, to="broken") + events(number, to="fine"))
    async with delivery(stream, receiver.send, counts).running():
        await eventually(lambda: _is(receiver.got["fine"] == numbered(*range(10))))
        assert not receiver.got["broken"]
        receiver.blocked.clear()
        await eventually(lambda: is_empty(stream))
    assert receiver.got["broken"] == numbered(*range(10))


async def test_the_culprits_of_a_refused_batch_die_and_the_others_arrive_in_order(
    stream: Stream, counts: Counts
) -> None:
    receiver = Receiver(bad=frozenset((b"3", b"4", b"9")))
    await append(stream, events(*range(12)))
    async with delivery(stream, receiver.send, counts).running():
        await eventually(lambda: is_empty(stream))
    assert receiver.all == numbered(0, 1, 2, 5, 6, 7, 8, 10, 11)
    assert await stream.count_dead() == {"http_400": 3}
    assert counts.numbers == {"delivered": 9, "dead http_400": 3}


async def test_a_refusal_that_no_event_is_to_blame_for_is_not_asked_again(stream: Stream, counts: Counts) -> None:
    receiver = Receiver(Refused("http_401", because_of_some=False))
    await append(stream, events(*range(5)))
    async with delivery(stream, receiver.send, counts).running():
        await eventually(lambda: is_empty(stream))
    assert len(receiver.asked) == 1
    assert await stream.count_dead() == {"http_401": 5}


class Stumbling(Receiver):
    """Fails over every batch with any of `bad`, and over all while it is `away`."""

    away = False

    def __init__(self, *bad: int, raises: bool = False) -> None:
        super().__init__(bad=frozenset(numbered(*bad)))
        self.raises = raises

    async def send(self, place: str, records: Sequence[Record]) -> Verdict:
        bodies = [record.body for record in records]
        self.asked.append(bodies)
        if self.away or self.bad & set(bodies):
            if self.raises:
                raise OSError("too many open files")
            return Again("http_500", because_of_some=True)
        self.got[place] += bodies
        return Delivered()


@pytest.mark.parametrize("bad", [(0,), (24,), (3, 4, 17), (10, 11, 12, 13, 14)], ids=str)
@pytest.mark.parametrize("raises", [False, True], ids=["500", "raises"])
async def test_what_fails_alone_while_others_are_taken_dies_and_the_others_arrive(
    stream: Stream, counts: Counts, bad: tuple[int, ...], raises: bool
) -> None:
    receiver = Stumbling(*bad, raises=raises)
    await append(stream, events(*range(25)))
    async with delivery(stream, receiver.send, counts).running():
        await eventually(lambda: _is(len(receiver.all) == 25 - len(bad)), seconds=30)
        await append(stream, events(25))  # what was taken before its first failure alone tells nothing of the last one
        await eventually(lambda: is_empty(stream), seconds=30)
    assert sorted(receiver.all, key=int) == numbered(*(number for number in range(26) if number not in bad))
    assert await stream.count_dead() == {"internal" if raises else "http_500": len(bad)}


async def test_an_event_alone_waits_for_others_that_tell_an_outage_from_a_fault_of_its_own(
    stream: Stream, counts: Counts
) -> None:
    receiver = Stumbling(0)
    await append(stream, events(0))
    async with delivery(stream, receiver.send, counts).running():
        await eventually(lambda: _is(len(receiver.asked) > 20))
        assert await stream.count_dead() == {}
        await append(stream, events(*range(1, 20)))
        await eventually(lambda: is_empty(stream))
    assert sorted(receiver.all, key=int) == numbered(*range(1, 20))
    assert await stream.count_dead() == {"http_500": 1}


@pytest.mark.parametrize("raises", [False, True], ids=["500", "raises"])
async def test_in_an_outage_nothing_dies_and_nearly_all_arrive_in_order(
    stream: Stream, counts: Counts, raises: bool
) -> None:
    receiver = Stumbling(raises=raises)
    receiver.away = True
    await append(stream, events(*range(25)))
    delivering = delivery(stream, receiver.send, counts)
    async with delivering.running():
        await eventually(lambda: _is(len(receiver.asked) > 60))
        assert delivering.is_at_fault == raises
        receiver.away = False
        await eventually(lambda: is_empty(stream))
        assert not delivering.is_at_fault
    assert await stream.count_dead() == {}
    first, *others = receiver.all  # the first one was the one that showed that it is over
    assert others == [body for body in numbered(*range(25)) if body != first]


async def test_what_no_event_can_help_is_not_put_down_to_any(stream: Stream, counts: Counts) -> None:
    receiver = Receiver(*[Again("http_429")] * 30)
    await append(stream, events(*range(10)))
    async with delivery(stream, receiver.send, counts).running():
        await eventually(lambda: is_empty(stream))
    assert receiver.asked == [numbered(*range(10))] * 31


async def test_an_event_that_is_taken_out_is_not_tried_again(stream: Stream, counts: Counts) -> None:
    receiver = Receiver()
    receiver.blocked.add("somewhere")
    await append(stream, events(0, 1))
    async with delivery(stream, receiver.send, counts).running():
        await eventually(lambda: _is(len(receiver.asked) > 2))
        [first, _] = await stream.read(b"", 10)
        assert await stream.remove([first.id]) == 1
        await eventually(lambda: _is(receiver.asked[-1] == [b"1"]))
        receiver.blocked.clear()
        await eventually(lambda: is_empty(stream))
    assert receiver.all == [b"1"]


async def test_several_deliver_at_once_and_nothing_arrives_twice(stream: Stream, counts: Counts) -> None:
    receiver = Receiver()
    some = [delivery(stream, receiver.send, counts, most_at_once=3) for _ in range(3)]
    async with some[0].running(), some[1].running(), some[2].running():
        for number in range(100):
            await append(stream, events(number, to=str(number % 2)))
        await eventually(lambda: is_empty(stream))
    assert sorted(receiver.all) == sorted(numbered(*range(100)))
    assert counts.numbers["delivered"] == 100


async def test_a_long_retry_is_not_taken_for_a_death(stream: Stream, counts: Counts) -> None:
    receiver, other = Receiver(), Receiver()
    receiver.blocked.add("somewhere")
    await append(stream, events(1))
    patient = delivery(stream, receiver.send, counts, claim_after=0.3)
    async with patient.running():
        await eventually(lambda: _is(bool(receiver.asked)))
        async with delivery(stream, other.send, counts, claim_after=0.3).running():
            await eventually(lambda: _is(len(receiver.asked) > 20))
            receiver.blocked.clear()
            await eventually(lambda: is_empty(stream))
    assert (receiver.all, other.all) == ([b"1"], [])


async def test_what_was_being_tried_again_is_left_to_others_at_the_end(stream: Stream, counts: Counts) -> None:
    receiver, other = Receiver(), Receiver()
    receiver.blocked.add("somewhere")
    await append(stream, events(*range(5)))
    async with delivery(stream, receiver.send, counts).running():
        await eventually(lambda: _is(bool(receiver.asked)))
    async with delivery(stream, other.send, counts).running():
        await eventually(lambda: is_empty(stream))
    assert other.all == numbered(*range(5))


async def test_what_was_being_sent_is_finished_at_the_end(stream: Stream, counts: Counts) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def send(place: str, records: Sequence[Record]) -> Verdict:
        del place, records
        begun.set()
        await go_on.wait()
        return Delivered()

    await append(stream, events(1))
    async with delivery(stream, send, counts).running():
        await begun.wait()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert await is_empty(stream)
    assert counts.numbers == {"delivered": 1}


async def test_an_emptied_store_costs_what_was_in_it_and_nothing_later(stream: Stream, counts: Counts) -> None:
    receiver = Receiver()
    async with delivery(stream, receiver.send, counts).running():
        await append(stream, events("before"))
        await eventually(lambda: _is(receiver.all == [b"before"]))
        await stream.store.flushall()
        await append(stream, events("after"))
        await eventually(lambda: _is(receiver.all == [b"before", b"after"]))


async def _is(what: bool) -> bool:
    return what


async def test_a_receiver_may_tell_which_events_it_will_never_take(stream: Stream, counts: Counts) -> None:
    async def takes_some(_: str, records: Sequence[Record]) -> Verdict:
        odd = {record.id: f"reason-{int(record.body) % 2}" for record in records if int(record.body) % 3 == 0}
        return Delivered(odd)

    await append(stream, events(*range(10)))
    async with delivery(stream, takes_some, counts).running():
        await eventually(lambda: is_empty(stream))
    assert await stream.count_dead() == {"reason-0": 2, "reason-1": 2}
    assert counts.numbers == {"delivered": 6, "dead reason-0": 2, "dead reason-1": 2}
