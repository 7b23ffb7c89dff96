"""`scripts/check_fast_path`: the same questions to the fast path and to the plain route, whose answers must be equal.

Equal to the byte, but for the header `date`. Where the fast path must read what a strict parser refuses, the plain
route is sent the same percent-encoded. The same seed gives the same questions.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
import uvloop

from tests.fuzz.check_requests import Question, put_lists, question
from tests.support.processes import gateway, running_store
from tests.support.raw_http import without_date

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CONNECTIONS = 12  # of each kind
_PIPELINED = 15
_TIMES = 10  # that a question is asked anew where its answer depended on how busy the machine was
_MOST_FAILURES = 20
_PATIENCE_SECONDS = 30.0
_LONGEST_SHOWN = 500  # bytes
_NOTHING = "no answer"
OF_THE_MOMENT = {"store_down", "overloaded", "stale_in", "stale_not_in"}


Asked = tuple[bytes, bool]  # a request, and whether the answer has a body


@dataclass
class Tally:
    """`states` counts what the fast path said; `differences` tells of each question that was answered unlike."""

    questions: int = 0
    asked_anew: int = 0
    states: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


async def compare(
    address: str, *, seed: int, start: int, count: int, say: Callable[[Tally], None] = lambda _: None
) -> Tally:
    """Ask the questions numbered from `start` of the gateway at `address`."""
    tally = Tally()
    numbers = iter(range(start, start + count))
    await asyncio.gather(*(_compare(address, seed, numbers, tally, say) for _ in range(_CONNECTIONS)))
    return tally


async def _compare(address: str, seed: int, numbers: Iterator[int], tally: Tally, say: Callable[[Tally], None]) -> None:
    fast, plain = _Connection(address), _Connection(address)
    while len(tally.differences) < _MOST_FAILURES and (batch := list(itertools.islice(numbers, _PIPELINED))):
        asked = [question(seed, number) for number in batch]
        cuts = random.Random(f"{seed}:{batch[0]}:cuts")  # noqa: S311 - to be repeated
        answers = await asyncio.gather(
            fast.ask(_groups(asked), cuts), plain.ask([[(one.plain(), one.has_body) for one in asked]])
        )
        for number, one, *both in zip(batch, asked, *answers, strict=True):
            state, difference = _states(both)[0], _difference(both)
            if difference or state in OF_THE_MOMENT:
                tally.asked_anew += 1
                alone = await _ask_both(address, one)
                state = _states(alone)[0]
                if _difference(alone):
                    difference = _difference(alone)
                elif set(_states(both)) & {*OF_THE_MOMENT, _NOTHING}:
                    difference = ""
                else:
                    difference += f"\n  not so when asked alone; the batch of {len(batch)} began with {batch[0]}"
                if difference:
                    tally.differences.append(f"number {number}: {_shown(one.raw())}\n{difference}")
            tally.states[state] += 1
        tally.questions += len(batch)
        say(tally)
    fast.close()
    plain.close()


async def _ask_both(address: str, one: Question) -> list[bytes]:
    """The fast and the plain answer, on connections of their own; both sure of what they say."""
    answers: list[bytes] = []
    for _ in range(_TIMES):
        answers = [await _ask_alone(address, raw, one) for raw in (one.raw(), one.plain())]
        if not OF_THE_MOMENT & set(_states(answers)):
            break
    return answers


async def _ask_alone(address: str, raw: bytes, one: Question) -> bytes:
    alone = _Connection(address)
    try:
        return (await alone.ask([[(raw, one.has_body)]]))[0]
    finally:
        alone.close()


def _groups(asked: list[Question]) -> list[list[Asked]]:
    """What may go out in one write.

    Bytes that a strict parser refuses are read rightly where nothing goes before: behind a request that is not for
    the fast path, uvicorn reads on, and refuses them.
    """
    groups: list[list[Asked]] = []
    for one in asked:
        if one.is_unfit or not groups:
            groups.append([])
        groups[-1].append((one.raw(), one.has_body))
    return groups


class _Connection:
    """Keep-alive; opened again when the server has closed it."""

    def __init__(self, address: str) -> None:
        self._place = urlsplit(address)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, groups: list[list[Asked]], cuts: random.Random | None = None) -> list[bytes]:
        """The answer to each; empty from where the server closed or said no more.

        A group goes out in one write (with `cuts`, in pieces), once the group before is answered.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._place.hostname, self._place.port)
        reader, writer = self._streams
        answers: list[bytes] = []
        with suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                for group in groups:
                    await _send(writer, b"".join(raw for raw, _ in group), cuts)
                    for _, has_body in group:
                        answer = await _read_answer(reader, has_body=has_body)
                        answers += [answer]
        missing = sum(map(len, groups)) - len(answers)
        if missing:
            self.close()
        return answers + [b""] * missing

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _send(writer: asyncio.StreamWriter, data: bytes, cuts: random.Random | None) -> None:
    count = cuts.choice((0, 0, 1, 3)) if cuts is not None else 0
    places = sorted(cuts.randrange(len(data)) for _ in range(count)) if cuts is not None else []
    for begin, end in itertools.pairwise((0, *places, len(data))):
        if writer.is_closing():
            raise ConnectionError
        writer.write(data[begin:end])
        await asyncio.sleep(0)  # so that it is sent before the next


async def _read_answer(reader: asyncio.StreamReader, *, has_body: bool) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if has_body:
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return without_date(head) + await reader.readexactly(length)
    return without_date(head)


def _states(answers: list[bytes]) -> list[str]:
    """What `X-Membership` says, or the status."""
    found = [answer.partition(b"\r\nx-membership: ")[2].partition(b"\r\n")[0] for answer in answers]
    return [state.decode() or answer[9:12].decode() or _NOTHING for state, answer in zip(found, answers, strict=True)]


def _difference(both: list[bytes]) -> str:
    ours, theirs = both
    return "" if ours == theirs else f"  fast:  {_shown(ours)}\n  plain: {_shown(theirs)}"


def _shown(raw: bytes) -> str:
    return repr(raw if len(raw) < _LONGEST_SHOWN else raw[:150] + b" ... " + raw[-150:])


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    questions: Annotated[int, typer.Argument(min=1, help="how many")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="another seed, other questions")] = 1,
    start: Annotated[int, typer.Option(min=0, help="number of the first: to go on where a run ended")] = 0,
) -> None:
    """Ask the fast path and the plain route of a gateway the same, and compare the answers."""
    with running_store() as store:
        with store.client() as client:
            put_lists(client)
        with gateway(store.directory, {"REDIS_URL": store.url}) as program:
            asking = compare(program.address, seed=seed, start=start, count=questions, say=_progress(questions))
            tally = uvloop.run(asking)
    for difference in tally.differences:
        typer.echo(f"DIFFERENT, seed {seed}, {difference}")
    typer.echo(f"seed {seed}, from {start}: {tally.questions} questions, {len(tally.differences)} answered unlike")
    typer.echo("; ".join(f"{state} {count}" for state, count in tally.states.most_common()))
    sys.exit(1 if tally.differences else 0)


def _progress(wanted: int) -> Callable[[Tally], None]:
    began = time.monotonic()
    step = max(1000, wanted // 20)
    told = 0

    def say(tally: Tally) -> None:
        nonlocal told
        if tally.questions >= told + step:
            told = tally.questions
            rate = told / (time.monotonic() - began)
            typer.echo(
                f"{told} of {wanted}, {rate:.0f} a second, {tally.asked_anew} asked anew, "
                f"{len(tally.differences)} different"
            )

    return say


if __name__ == "__main__":
    app()
