"""A program for the tests: appends numbered records until it is killed, and says which were acknowledged.

`python -m tests.cohort_sync.journal.endless_writer DIRECTORY NAME`; a line for each record.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from cohort_sync.journal import Journal, Limits


async def main(directory: Path, name: str) -> None:
    journal = Journal.open(directory, Limits(file_bytes=300_000))

    async def send(sender: int) -> None:
        number = 0
        while True:
            text = b"%s/%d/%d" % (name.encode(), sender, number)
            await journal.append(text + b" ", os.urandom(1 + number * 997 % 20_000))
            os.write(1, text + b"\n")
            number += 1

    await asyncio.gather(*map(send, range(8)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
