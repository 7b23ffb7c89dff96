"""Logs: one line an event, no person in it."""

from __future__ import annotations

import hashlib
import logging
import sys


def configure_logging(level: str, *, service: str) -> None:
    """Log to stderr as `time level service logger message`; `level` as `logging` names it.

    The servers' access logs stay off: a request line holds query strings, and these hold user ids.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter(f"%(asctime)s.%(msecs)03d %(levelname)s {service} %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)


class PrivateTags:
    """Short hashes that stand for ids in logs: equal ids get equal tags, keyed so that nobody can guess back."""

    def __init__(self, key: str) -> None:
        self._key = hashlib.blake2b(key.encode()).digest()[:32]

    def tag(self, value: str) -> str:
        return hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=self._key, digest_size=5).hexdigest()
