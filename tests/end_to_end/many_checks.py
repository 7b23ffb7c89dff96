"""Ask gateways about very many values, over keep-alive connections, as fast as they answer."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CONNECTIONS = 8
_PIPELINED = 25  # questions in one write: fewer turns of two event loops
_SURE = ("in", "not_in")


async def ask_all(gateways: Sequence[str], path: str, values: Sequence[str]) -> Counter[tuple[str, str]]:
    """How often each (body, `X-Membership`) was the answer; `path` ends where the value belongs.

    On a machine that is busy with other things a check may miss the store's deadline, and is then answered `false`
    and marked. That promise has its own tests; here the lists are in question, so such values are asked once more.
    """
    rest = iter(values)
    unsure: list[str] = []
    connections = (_ask(gateway, path, rest, unsure) for gateway in gateways for _ in range(_CONNECTIONS))
    answers = sum(await asyncio.gather(*connections), Counter[tuple[str, str]]())
    answers += await _ask(gateways[0], path, iter(unsure), [])
    return answers


async def _ask(gateway: str, path: str, values: Iterator[str], unsure: list[str]) -> Counter[tuple[str, str]]:
    address = urlsplit(gateway)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    answers: Counter[tuple[str, str]] = Counter()
    while batch := list(itertools.islice(values, _PIPELINED)):
        writer.writelines(f"GET {path}{value} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode() for value in batch)
        for value in batch:
            body, state = await _read_answer(reader)
            if state in _SURE:
                answers[body, state] += 1
            else:
                unsure.append(value)
    writer.close()
    await writer.wait_closed()
    return answers


async def _read_answer(reader: asyncio.StreamReader) -> tuple[str, str]:
    length, state = _read_head(await reader.readuntil(b"\r\n\r\n"))
    return (await reader.readexactly(length)).decode(), state


@functools.cache  # within a second equal answers have equal heads
def _read_head(head: bytes) -> tuple[int, str]:
    status, *lines = head.decode("ascii").strip().split("\r\n")
    assert status == "HTTP/1.1 200 OK", head
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(headers["content-length"]), headers["x-membership"]
