"""Server-sent events, read from the bytes of a connection as they come (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventReader:
    """Gives the data of each event. An event of more than `most` bytes comes out empty.

    Lines are cut at LF, CR or both, and nowhere else: JSON may hold other line separators as they are.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._line = bytearray()  # what has come of it
        self._data: list[bytes] | None = None  # lines of the event under way
        self._size = 0
        self._began = False
        self._after_return = False  # a line feed would belong to it

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that end in `chunk`."""
        if self._after_return and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        if not chunk:
            return []
        self._after_return = chunk.endswith(b"\r")
        *ends, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        found = []
        for end in ends:
            line = bytes(self._line + end)
            self._line.clear()
            event = self._take(line)
            if event is not None:
                found.append(event)
        self._line += rest
        if len(self._line) > self._most:
            self._size += len(self._line)
            del self._line[1:]  # something must stay, for an empty line would end the event
        return found

    def _take(self, line: bytes) -> bytes | None:
        if not self._began:
            self._began = True
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._end()
        name, _, value = line.partition(b":")
        self._size += len(line)
        if name == b"data" and self._size <= self._most:
            self._data = [*(self._data or ()), value.removeprefix(b" ")]
        return None

    def _end(self) -> bytes | None:
        """An event without data is none."""
        data, size = self._data, self._size
        self._data, self._size = None, 0
        if size > self._most:
            return b""
        return None if data is None else b"\n".join(data)
