"""The program of a process that matches regular expressions for a gateway, and can be stopped at it.

It is run by its path, without the site's packages: with the standard library alone it starts in milliseconds.
A request on standard input is a `HEAD`, the pattern as `re` takes it (ASCII) and the text (UTF-16). The answers on
standard output are one byte each: `COMPILED` as soon as the pattern is, then one of the others.
"""

from __future__ import annotations

import re
import signal
import struct
import sys
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

HEAD = struct.Struct("=dIII")  # seconds that the search may take, flags of `re`, bytes of the pattern and of the text
TEXT_ENCODING = f"utf-16-{'le' if sys.byteorder == 'little' else 'be'}"
COMPILED, MATCHES, DIFFERS, STOPPED = b"c", b"+", b"-", b"!"


class _Stopped(Exception):  # noqa: N818 - no error: the time is over
    pass


def main() -> None:
    """Answer until standard input ends."""
    signal.signal(signal.SIGALRM, _stop)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while head := requests.read(HEAD.size):
        seconds, flags, pattern_size, text_size = HEAD.unpack(head)
        pattern, text = requests.read(pattern_size).decode("ascii"), requests.read(text_size)
        compiled = re.compile(pattern, flags)  # it remembers the last 512
        answers.write(COMPILED)
        answers.flush()
        answers.write(_search(compiled, text, seconds))
        answers.flush()


def _search(compiled: re.Pattern[str], text: bytes, seconds: float) -> bytes:
    """Mostly it ends with the time; within one look at a long text nothing can stop `re`, then the gateway ends us."""
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            return MATCHES if compiled.search(_units(text)) else DIFFERS
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except (_Stopped, MemoryError):
        return STOPPED


def _units(data: bytes) -> str:
    """As `fme_client.evaluation.js_regex.units`: a character for each two bytes."""
    text = data.decode(TEXT_ENCODING, "surrogatepass")
    return text if 2 * len(text) == len(data) else "".join(map(chr, array("H", data)))


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _Stopped


if __name__ == "__main__":
    main()
