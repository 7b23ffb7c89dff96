"""What our programs and their commands have in common."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from foundation.errors import CohortGatewayError, UnavailableError
from foundation.store import STORE_ERRORS, connect, describe_store
from foundation.store_trouble import explain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from foundation.settings import ServiceSettings
    from foundation.store import Store

Found = TypeVar("Found")


def exit_status(program: Callable[[], object]) -> int:
    """Run `program`; an error that the operator can mend is one line on stderr and exit status 2."""
    try:
        program()
    except CohortGatewayError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the program's own word
        return 2
    return 0


def with_store(settings: ServiceSettings, ask: Callable[[Store], Awaitable[Found]]) -> Found:
    """What `ask` finds in the store. Raises `UnavailableError` where that is away."""

    async def run() -> Found:
        store = connect(settings)
        try:
            return await ask(store)
        finally:
            await store.aclose()

    try:
        return asyncio.run(run())
    except STORE_ERRORS as error:
        raise UnavailableError(
            f"no store at {describe_store(settings)} ({explain(error)}): start scripts/serve in another "
            "terminal, or set REDIS_URL to your server"
        ) from None


@contextlib.contextmanager
def progress(text: str, total: int) -> Iterator[Callable[[int], object]]:
    """A bar on standard error for as long as the block runs; what it gives is told of each step's size."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda number: bar.advance(task, number)
