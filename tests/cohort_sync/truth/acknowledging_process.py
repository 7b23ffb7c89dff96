"""A process that accepts pages from many senders at once and prints each number that was acknowledged: DATA_DIR."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from tests.cohort_sync.truth.facts_in_tests import opened

_SENDERS = 8


async def main(data_dir: Path, first: int) -> None:
    numbers = itertools.count(first)
    async with opened(data_dir) as written:

        async def send() -> None:
            for number in numbers:
                await written.page(f"task {number}", add=[f"u{number}", "x" * (number % 900 + 1)], at=number)
                sys.stdout.write(f"{number}\n")
                sys.stdout.flush()

        await asyncio.gather(*(send() for _ in range(_SENDERS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
