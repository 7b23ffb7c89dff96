"""Ask gateways about very many values, over keep-alive connections, as fast as they answer."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CONNECTIONS = 8
_PIPELINED = 25  # questions in one write: fewer turns of two event loops
_SURE = ("in", "not_in")
_BEGIN, _BODIES = b"HTTP/1.1 ", (b"\r\n\r\ntrue", b"\r\n\r\nfalse")
_CHUNK = 64 * 1024


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
        for value, answer in zip(batch, await _read_answers(reader, len(batch)), strict=True):
            body, state = _read(answer)
            if state in _SURE:
                answers[body, state] += 1
            else:
                unsure.append(value)
    writer.close()
    await writer.wait_closed()
    return answers


async def _read_answers(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    received = b""
    while not received.endswith(_BODIES) or received.count(_BEGIN) < count:
        received += await reader.read(_CHUNK) or pytest.fail(f"closed after {received!r}")
    return received.split(_BEGIN)[1:]


@functools.cache  # within a second equal answers are equal bytes
def _read(answer: bytes) -> tuple[str, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("ascii").split("\r\n")
    assert status == "200 OK", answer
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert len(body) == int(headers["content-length"]), answer
    return body.decode(), headers["x-membership"]
