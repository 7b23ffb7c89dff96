"""The process that folds: `python -m cohort_sync.truth.folding.process DATABASE`, started by the receiver.

It reads the database and writes nothing: what is to be written goes over a pipe. One pass over all lists, then it ends.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import msgspec

from cohort_sync.truth.folding.lists import ListFolder, lists_to_fold
from cohort_sync.truth.folding.messages import YES, send
from cohort_sync.truth.folding.reading import Reader
from cohort_sync.truth.folding.rounds import FoldRules

if TYPE_CHECKING:
    from cohort_sync.truth.folding.messages import Message

Result = TypeVar("Result")

_NICE = 10  # whoever answers goes first


def main(path: str, rules: str) -> None:
    os.nice(_NICE)
    # Nothing but frames may get there.
    answers, messages = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    run(path, msgspec.json.decode(rules, type=FoldRules), answers, messages)


def run(path: str, rules: FoldRules, answers: BinaryIO, messages: BinaryIO) -> None:
    def tell(message: Message) -> bool:
        send(messages, message)
        answer = answers.read(1)
        if not answer:  # our parent is gone
            sys.exit(1)
        return answer == YES

    with Reader(path) as reader:
        folder = ListFolder(reader, tell, rules)
        now = int(time.time() * 1000)
        for row in reader.read(lambda connection: lists_to_fold(connection, rules, now)):
            folder.fold(row, now)


if __name__ == "__main__":
    main(*sys.argv[1:])
