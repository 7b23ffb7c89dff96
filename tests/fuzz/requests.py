"""Requests to throw at the webhook, each made from a seed and its number alone; and how any request can be odd."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass

from cohort_sync.signature import sign
from tests.fuzz.bodies import body

SECRET = "fuzz"

METHODS = (
    "GET",
    "PUT",
    "HEAD",
    "OPTIONS",
    "DELETE",
    "PATCH",
    "CONNECT",
    "TRACE",
    "post",
    "P\x00ST",
    "",
    "PRI",
    "\xe9",
)
_TARGETS = (
    *("/webhooks/heap/", "/webhooks/../webhooks/heap", "/webhooks%2fheap", "/webhooks/heap?x=%zz", "//webhooks/heap"),
    *("http://x/webhooks/heap", "*", "", "/", "/healthz", "/connect/heap/callback?state=a&code=b", "/%ff", "/\x80"),
    *("/connect/heap/callback?state=a&state=b", "/connect/heap/callback?error=%00", "/openapi.json", "/metrics"),
    *("/admin/api/v1/lists", "x:443", "/webhooks/heap#a", "/webhooks/heap;a", "/" + "a" * 70_000, "/webhooks/heap\t"),
)
VERSIONS = ("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "HTTP/11", "http/1.1", "HTTP/1.1 x", "", "ICE/1.1")
LENGTHS = ("-1", "+5", "0x10", "1e3", "", " ", "18446744073709551616", "9" * 400, "5, 5", "5, 6", "²", "1_0", "0")
_CODINGS = ("chunked, chunked", "identity", "gzip, chunked", "chunked;a=b", "Chunked ", "xchunked", "chunked, x", "")
CHUNKS = (
    b"-1\r\n",
    b"0x5\r\n",
    b"5 \r\n",
    b"\r\n",
    b"fffffffffffffffff\r\n",
    b"7fffffff\r\n",
    b"g\r\n",
    b"5\n",
    b"05;",
)
HEADERS = (
    *("Upgrade: websocket\r\nConnection: Upgrade", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings"),
    *("Expect: 100-continue", "Expect: x", "Connection: close", "Connection: keep-alive, close", "X: a\r\n folded"),
    *("X Y: a", "X\x00: a", ": a", "X", "X: \x00", "X: \x80\xff", "Host: a\r\nHost: b", "X" * 70_000 + ": a"),
    *("X: " + "y" * 70_000, "Content-Type: text/plain", "Content-Encoding: gzip", "Heap-Hash: ts:1,hmac:AA"),
    *("Trailer: Heap-Hash", "Content-Type: application/json; charset=utf-16", "Transfer-Encoding: chunked"),
)
_BAD_HASHES = (
    *("", "ts:,hmac:", "ts:1,hmac:AA", "hmac:AA,ts:1", "ts:99999999999999999999,hmac:AA", "ts:1", "ts:-1,hmac:AA"),
    *("ts:{now},hmac:", "ts:{now},hmac:!!!!", "ts:{now},hmac:AAAA", "ts:{now},hmac:" + "A" * 300, "\xff", "sha256=ab"),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """`pieces` are sent one after the other with pauses. `is_whole`: the server can't wait for more of it."""

    pieces: tuple[bytes, ...]
    is_whole: bool = True


def request(seed: int, number: int, *, signed: bool) -> Sent:
    """The request of that number; only with `signed` may its signature be right."""
    chooser = random.Random(f"{seed}:{number}:{signed}")  # noqa: S311 - anybody may guess it
    raw = b"".join(_one(chooser, signed=signed) for _ in range(chooser.choice((1, 1, 1, 1, 1, 2, 3, 20))))
    if chooser.random() < 0.05:
        raw = raw[: chooser.randrange(len(raw) + 1)]  # and then wait, for an answer that must come all the same
    return Sent(in_pieces(chooser, raw))


def in_pieces(chooser: random.Random, raw: bytes) -> tuple[bytes, ...]:
    """`raw`, cut anywhere."""
    cuts = sorted(chooser.randrange(len(raw) + 1) for _ in range(chooser.choice((0, 0, 0, 1, 3))))
    return tuple(raw[start:end] for start, end in itertools.pairwise((0, *cuts, len(raw))))


def _one(chooser: random.Random, *, signed: bool) -> bytes:
    content = body(chooser)
    method, target, version = "POST", "/webhooks/heap", "HTTP/1.1"
    odd = 0.03 if signed else 0.1
    if chooser.random() < odd:
        method = chooser.choice(METHODS)
    if chooser.random() < odd:
        target = chooser.choice(_TARGETS)
    if chooser.random() < odd:
        version = chooser.choice(VERSIONS)
    headers = ["Host: x", "Content-Type: application/json", *_hash(chooser, content, signed=signed)]
    if chooser.random() < odd * 2:
        headers += chooser.choices(HEADERS, k=chooser.choice((1, 1, 2)))
    if chooser.random() < 0.01:
        headers += [f"X-{number}: a" for number in range(chooser.choice((100, 5000)))]
    framing, payload = framed(chooser, content, odd)
    headers += framing
    chooser.shuffle(headers)
    line = f"{method} {target} {version}"
    newline = "\n" if chooser.random() < odd / 3 else "\r\n"
    return newline.join([line, *headers, "", ""]).encode("latin-1", "replace") + payload


def _hash(chooser: random.Random, content: bytes, *, signed: bool) -> list[str]:
    now = int(time.time() * 1000)
    if signed:
        return [f"Heap-Hash: {sign(SECRET, content, timestamp_ms=now - chooser.randrange(3_600_000))}"]
    right = f"Heap-Hash: {sign(SECRET, content, timestamp_ms=now)}"
    age = chooser.choice((90_000_000, -120_000))
    bad = chooser.choice(_BAD_HASHES).replace("{now}", str(now))
    choices: list[list[str]] = [
        [],
        [f"Heap-Hash: {bad}"],
        [right, right],
        [f"Heap-Hash: {sign(SECRET, content, timestamp_ms=now - age)}"],
        [f"Heap-Hash: {sign(SECRET, content + b' ', timestamp_ms=now)}"],
        [f"Heap-Hash: {sign('another', content, timestamp_ms=now)}"],
    ]
    return chooser.choice(choices)


def framed(chooser: random.Random, content: bytes, odd: float) -> tuple[list[str], bytes]:
    """The headers that say how long the body is, and the body as they say; one in 1 / `odd` times not quite."""
    if chooser.random() < 0.3:
        headers, payload = ["Transfer-Encoding: chunked"], _chunked(chooser, content, odd)
    else:
        headers, payload = [f"Content-Length: {len(content)}"], content
    match chooser.random():
        case draw if draw < odd / 4:
            headers = [f"Content-Length: {chooser.choice(LENGTHS)}"]
        case draw if draw < odd / 2:
            headers = [f"Transfer-Encoding: {chooser.choice(_CODINGS)}"]
        case draw if draw < odd * 3 / 4:
            headers += [f"Content-Length: {len(content) + chooser.randrange(-2, 3)}"]
        case draw if draw < odd:
            headers = []
    return headers, payload


def _chunked(chooser: random.Random, content: bytes, odd: float) -> bytes:
    parts = []
    at = 0
    while at < len(content):
        size = chooser.choice((1, 2, 7, 100, 4000, 100_000))
        part = content[at : at + size]
        extension = chooser.choice((b"", b"", b"", b";a=b", b';a="' + b"x" * 100 + b'"'))
        parts.append(b"%x%s\r\n%s\r\n" % (len(part), extension, part))
        at += size
    if parts and chooser.random() < odd:
        parts.insert(chooser.randrange(len(parts)), chooser.choice(CHUNKS))
    return b"".join(parts) + chooser.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: trailer\r\n\r\n", b"0\r\n"))
