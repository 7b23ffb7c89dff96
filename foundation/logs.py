"""Logs: one line an event, no person in it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sys
from typing import Any


def configure_logging(level: str, *, service: str) -> None:
    """Log to stderr as `time level service logger message`; `level` as `logging` names it.

    The servers' access logs stay off: a request line holds query strings, and these hold user ids.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Lines(f"%(asctime)s.%(msecs)03d %(levelname)s {service} %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def say(text: str) -> None:
    """Print `text` for people and for programs that wait for it.

    Where nobody takes it, as a file on a full disk, it goes untold: no service ends over that.
    """
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)  # noqa: T201 - what it is for


def printable(text: str) -> str:
    """`text` on one line, without what moves a terminal's cursor or changes its colours: others wrote parts of it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class _Lines(logging.Formatter):
    """One line an event, whatever texts of others are in it; the lines of a traceback are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging calls
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging calls
        return "\n".join(f"    {printable(line)}" for line in super().formatException(ei).split("\n"))


class PrivateTags:
    """Short hashes that stand for ids in logs: equal ids get equal tags, keyed so that nobody can guess back."""

    def __init__(self, key: str) -> None:
        self._key = hashlib.blake2b(key.encode()).digest()[:32]

    def tag(self, value: str) -> str:
        return hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=self._key, digest_size=5).hexdigest()
