"""Server-sent events, read from the bytes of a connection as they come (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foundation.errors import NoAnswerError
from foundation.http_client import TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Iterator

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventReader:
    """Gives the data of each event, of `most_bytes` and `most_lines` at most, comments and other fields included.

    Lines are cut at LF, CR or both, and nowhere else: JSON may hold other line separators as they are.
    """

    def __init__(self, most_bytes: int, most_lines: int) -> None:
        self._most_bytes = most_bytes
        self._most_lines = most_lines
        self._line = bytearray()  # what has come of it
        self._data: list[bytes] = []  # lines of the event under way
        self._bytes = self._lines = 0  # of the event under way
        self._began = False
        self._after_return = False  # a line feed would belong to it

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The data of the events that end in `chunk`. Raises `NoAnswerError` for an event that is too large."""
        if self._after_return and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        if not chunk:
            return
        self._after_return = chunk.endswith(b"\r")
        *ends, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for end in ends:
            self._grow(end)
            self._lines += 1
            data = self._take(bytes(self._line))
            self._line.clear()
            if data is not None:
                yield data
        self._grow(rest)

    def _grow(self, part: bytes) -> None:
        self._bytes += len(part)
        if self._bytes > self._most_bytes:
            raise NoAnswerError(f"an event of it has more than {self._most_bytes:,} bytes", reason=TOO_LARGE)
        if self._lines >= self._most_lines:
            raise NoAnswerError(f"an event of it has more than {self._most_lines:,} lines", reason=TOO_LARGE)
        self._line += part

    def _take(self, line: bytes) -> bytes | None:
        """The data of the event that `line` ends, if it ends one with data."""
        if not self._began:
            self._began = True
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            return None
        lines, self._data = self._data, []
        self._bytes = self._lines = 0
        return b"\n".join(lines) if lines else None
