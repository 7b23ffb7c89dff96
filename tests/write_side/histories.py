"""Random histories over HTTP, compared with the model: `scripts/check_histories`, and some of them in the suite.

A receiver is used for many histories, each a segment of its own, several at once. A difference is played again in
ever shorter versions, and the shortest that still shows it is printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tests.write_side.composer import Composer, History
from tests.write_side.events import BEGINS_EPOCH, Break, Deliver, SenderDrains, Together
from tests.write_side.model import UnknowableError
from tests.write_side.player import Caller, HistoryError, Player, Tally
from tests.write_side.sides import SIDES
from tests.write_side.sites import running_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.write_side.events import Event
    from tests.write_side.sides import WriteSide
    from tests.write_side.sites import Site

_SETTLE_SECONDS = 10.0
_MEND_SECONDS = 30.0
_SHRINK_SECONDS = 2.0
_SEARCH_SECONDS = 120.0
_PER_SITE = 200
_LOG_LINES = 20
_TELL_SECONDS = 5
_SEEDS = 1_000_000  # seeds of histories from one seed of a run to the next

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


class Run:
    """Histories on one site. `most_shrink` is that of its receiver; `breaks`: some of them break something."""

    def __init__(self, caller: Caller, *, most_shrink: float, breaks: bool) -> None:
        self._caller = caller
        self._most_shrink = most_shrink
        # What one history breaks the others have to wait for, too.
        self._seconds = _MEND_SECONDS if breaks else _SETTLE_SECONDS
        self._numbers = itertools.count(1)
        self._played: list[Player] = []
        self._failed = False

    async def play(self, histories: list[History], *, at_once: int, tell: Callable[[], None]) -> None:
        """Raises `HistoryError` whose text says how to see it again."""
        waiting = iter(histories)

        async def work() -> None:
            for history in waiting:
                if self._failed:  # nobody else disturbs the search for its shortest form
                    return
                await self._play(history)
                self._caller.tally.histories += 1
                tell()

        async with _first_error():
            async with asyncio.TaskGroup() as group:
                for _ in range(at_once):
                    group.create_task(work())
            for player in self._played:  # what others did later changed nothing
                await player.compare(seconds=self._seconds)

    async def _play(self, history: History) -> None:
        difference = await self._difference(history.events, seconds=self._seconds)
        if difference:
            self._failed = True
            events, difference = await self._shortest(history.events, difference)
            lines = [f"  {event}" for event in events]
            log = [line.rstrip() for line in self._caller.site.receiver.lines if " INFO " not in line]
            told = "\n".join([*lines, difference, "the receiver's log:", *log[-_LOG_LINES:]])
            raise HistoryError(f"history {history.seed}, shortest form:\n{told}")

    async def _difference(self, events: tuple[Event, ...], *, seconds: float) -> str:
        player = Player(self._caller, next(self._numbers), most_shrink=self._most_shrink)
        try:
            await player.play(events)
            await player.compare(seconds=seconds)
        except HistoryError as error:
            return str(error) or "?"
        self._played.append(player)
        return ""

    async def _shortest(self, events: tuple[Event, ...], difference: str) -> tuple[tuple[Event, ...], str]:
        """Leave out one event after the other, the last ones first, as long as a difference is left."""
        deadline = time.monotonic() + _SEARCH_SECONDS
        for position in reversed(range(1, len(events))):
            shorter = events[:position] + events[position + 1 :]
            if time.monotonic() > deadline or _lacks_epochs(shorter):
                continue
            breaks = any(isinstance(event, Break) for event in shorter)
            seconds = self._caller.site.side.patience if breaks else _SHRINK_SECONDS
            with contextlib.suppress(UnknowableError):
                if found := await self._difference(shorter, seconds=seconds):
                    events, difference = shorter, found
        return events, difference


class Plan(NamedTuple):
    """Histories of one site."""

    histories: list[History]
    most_shrink: float


def plans(side: WriteSide, *, count: int, seed: int, damages: float) -> Iterator[Plan]:
    """Every fourth site has a receiver that holds snapshots back."""
    first = seed * _SEEDS
    for number, start in enumerate(range(first, first + count, _PER_SITE)):
        holds = number % 4 == 3
        composer = Composer(side, holds=holds, damages=damages)
        seeds = range(start, min(start + _PER_SITE, first + count))
        yield Plan([composer.history(each) for each in seeds], 0.5 if holds else 1.0)


def play(side: WriteSide, plan: Plan, tally: Tally, *, at_once: int, tell: Callable[[], None]) -> None:
    """Raises `HistoryError`."""

    async def on(site: Site, gateway: str) -> None:
        caller = Caller(site, gateway, tally)
        breaks = any(isinstance(event, Break) for history in plan.histories for event in history.events)
        try:
            run = Run(caller, most_shrink=plan.most_shrink, breaks=breaks)
            alone = breaks and not side.knows_its_lists
            await run.play(plan.histories, at_once=1 if alone else at_once, tell=tell)
        finally:
            await caller.aclose()

    with running_site(side, SNAPSHOT_MAX_SHRINK=str(plan.most_shrink)) as site, site.gateway() as gateway:
        asyncio.run(on(site, gateway))


@app.command()
def main(
    count: Annotated[int, typer.Option(min=1, help="how many histories")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="another seed, other histories")] = 1,
    write_side: Annotated[str, typer.Option(help=f"one of {', '.join(SIDES)}")] = "files",
    damages: Annotated[float, typer.Option(min=0, max=1, help="share of them in which something breaks")] = 0.01,
    at_once: Annotated[int, typer.Option(min=1, help="how many at the same time on one receiver")] = 6,
    again: Annotated[int | None, typer.Option(help="only the history of this seed")] = None,
    holds: Annotated[bool, typer.Option("--holds", help="with `--again`: on a receiver that holds snapshots")] = False,
) -> None:
    """Play random histories over HTTP; each list must end as the plain model says."""
    if write_side not in SIDES:
        raise typer.BadParameter(f"no such write side: {write_side}; there are {', '.join(SIDES)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what it started is stopped
    side, tally, started = SIDES[write_side], Tally(), time.monotonic()
    told = started

    def tell() -> None:
        nonlocal told
        if time.monotonic() - told > _TELL_SECONDS:
            told = time.monotonic()
            typer.echo(f"{told - started:6.0f} s  {tally.histories} of {count} histories as the model says")

    if again is not None:
        composer = Composer(side, holds=holds, damages=damages)
        count, planned = 1, iter([Plan([composer.history(again)], 0.5 if holds else 1.0)])
    else:
        planned = plans(side, count=count, seed=seed, damages=damages)
    for plan in planned:
        try:
            play(side, plan, tally, at_once=at_once, tell=tell)
        except HistoryError as error:
            of_holds = " --holds" * (plan.most_shrink < 1)
            typer.echo(f"DIFFERENT\n{error}\n(--again SEED{of_holds} --damages {damages} plays it again)", err=True)
            sys.exit(1)
    happened = ", ".join(f"{what} {number}" for what, number in sorted(tally.happened.items()))
    typer.echo(
        f"{tally.histories} histories as the model says, in {time.monotonic() - started:.0f} s: {happened}; "
        f"asked again {tally.refused} times"
    )


@contextlib.asynccontextmanager
async def _first_error() -> AsyncIterator[None]:
    """The first of those that a group raises, by itself."""
    try:
        yield
    except* HistoryError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def _lacks_epochs(events: tuple[Event, ...]) -> bool:
    """Whether something is signed in an epoch that no command begins."""
    epochs = 0
    for event in events:
        epochs += isinstance(event, BEGINS_EPOCH)
        moments = [delivery.signed for delivery in event.deliveries] if isinstance(event, Together) else []
        moments += [event.signed] if isinstance(event, (Deliver, SenderDrains)) else []
        if any(moment.epoch > epochs for moment in moments):
            return True
    return False


if __name__ == "__main__":
    app()
