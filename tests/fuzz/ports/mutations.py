"""Ways to change a request on its way: framing, methods, encodings, upgrades, and bytes that HTTP does not know."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.fuzz.requests import CHUNKS, LENGTHS, VERSIONS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_UPGRADES = ("h2c", "websocket", "anything", "TLS/1.0", "HTTP/2.0, websocket", "", "H2C", "foo/1")
_CONNECTIONS = ("Upgrade", "upgrade", "keep-alive, Upgrade", "Upgrade, HTTP2-Settings", "close, Upgrade")
_WITH_UPGRADE = (
    "HTTP2-Settings: AAMAAABkAAQAAP__",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)
_METHODS = (
    "HEAD",
    "OPTIONS",
    "TRACE",
    "PUT",
    "DELETE",
    "PATCH",
    "PROPFIND",
    "M-SEARCH",
    "SOURCE",
    "QUERY",
    "BREW",
    "post",
)
_TRAILERS = (
    *(
        "Authorization: Bearer x",
        "Heap-Hash: ts:1,hmac:AAAA",
        "Content-Length: 5",
        "Content-Length: 99999",
        "X: y",
        "Host: y",
    ),
    *(
        "Transfer-Encoding: chunked",
        "Connection: close",
        "Connection: Upgrade",
        "Upgrade: h2c",
        "Content-Encoding: gzip",
    ),
    *("Expect: 100-continue", "Trailer: X", "X: " + "y" * 3000),
)
_BAD_TRAILERS = ("X: \x00", "X Y: z", " folded", ": z", "X", "GET /healthz HTTP/1.1")
_CODINGS = (
    "chunked, gzip",
    "identity",
    "xchunked",
    "chunked, chunked",
    "gzip",
    "chunked;q=1",
    "\x0bchunked",
    '"chunked"',
    ",",
)
_ODD_HEADERS = (
    *(
        "X: a\x00b",
        "X\x00: a",
        "X: a\x01b",
        "X: \x7f",
        "X: \x80\xff",
        "X Y: a",
        "X: a\r\n X: a",
        ": a",
        "X",
        "\x00",
        "X:a\tb",
    ),
    *("Expect: 100-continue", "Expect: x", "Host: a\r\nHost: b", "Content-Type: application/json; charset=utf-16"),
    *(
        "Trailer: Authorization, Content-Length",
        "TE: trailers, chunked",
        "Connection: keep-alive, close",
        "Keep-Alive: x",
    ),
    *("Max-Forwards: 0", "X-HTTP-Method-Override: CONNECT", "Range: bytes=0-1", "Content-Type: multipart/form-data"),
    *(
        "Connection: close",
        "Connection: Content-Length",
        "Connection: Transfer-Encoding",
        "Via: 1.1 a",
        "X: a\r\n folded",
    ),
)


@dataclass
class Draft:
    """A request that is being changed. `names` are the changes made so far.

    `framing`: the headers that say where the body ends; None: a Content-Length, or chunks where it is `chunked`.
    `signs_in_trailers`: where the credentials stand. `clear`: strict readers of HTTP agree where it ends. `ends`: the
    server can't wait for more of it.
    """

    method: str
    target: bytes
    content: bytes | None
    headers: list[str]
    version: str = "HTTP/1.1"
    before: bytes = b""
    newline: bytes = b"\r\n"
    chunked: bool = False
    framing: list[str] | None = None
    bad_chunk: bytes = b""
    trailers: list[str] = field(default_factory=list)
    signs_in_trailers: bool = False
    names: list[str] = field(default_factory=list)
    clear: bool = True
    ends: bool = True

    def render(self, chooser: random.Random) -> bytes:
        body = self.content or b""
        framing = self.framing
        if framing is None and self.content is not None:
            framing = ["Transfer-Encoding: chunked"] if self.chunked else [f"Content-Length: {len(body)}"]
        headers = list(self.headers)
        chooser.shuffle(headers)
        place = chooser.randrange(len(headers) + 1)
        headers[place:place] = framing or []
        line = self.method.encode("latin-1") + b" " + self.target + b" " + self.version.encode("latin-1")
        head = self.newline.join([line, *(header.encode("latin-1", "replace") for header in headers), b"", b""])
        return self.before + head + (self._chunks(chooser, body) if self.chunked else body)

    def _chunks(self, chooser: random.Random, body: bytes) -> bytes:
        parts, at = [], 0
        while at < len(body):
            part = body[at : at + chooser.choice((1, 7, 100, 4000, 100_000))]
            extension = chooser.choice((b"", b"", b"", b";a=b", b';a="' + b"x" * 100 + b'"'))
            parts.append(b"%x%s\r\n%s\r\n" % (len(part), extension, part))
            at += len(part)
        if self.bad_chunk:
            parts.insert(chooser.randrange(len(parts) + 1), self.bad_chunk)
        return (
            b"".join(parts) + b"0\r\n" + b"".join(f"{line}\r\n".encode("latin-1") for line in self.trailers) + b"\r\n"
        )


def _upgrade(draft: Draft, chooser: random.Random) -> None:
    draft.headers += [f"Connection: {chooser.choice(_CONNECTIONS)}", f"Upgrade: {chooser.choice(_UPGRADES)}"]
    draft.headers += chooser.sample(_WITH_UPGRADE, chooser.randrange(3))


def _connect(draft: Draft, chooser: random.Random) -> None:
    draft.method = "CONNECT"
    if chooser.random() < 0.7:
        draft.target = chooser.choice((b"example.com:443", b"127.0.0.1:1", b"x", b"*", b"[::1]:80"))


def _method(draft: Draft, chooser: random.Random) -> None:
    draft.method = chooser.choice(_METHODS)


def _encoding(draft: Draft, chooser: random.Random) -> None:
    """Compressed, or said to be."""
    coding = chooser.choice(("gzip", "deflate", "br", "zstd", "gzip, gzip", "identity", "x"))
    draft.headers.append(f"Content-Encoding: {coding}")
    if draft.content is not None and chooser.random() < 0.5:
        draft.content = gzip.compress(draft.content) if "gzip" in coding else zlib.compress(draft.content)


def _trailers(draft: Draft, chooser: random.Random) -> None:
    draft.content, draft.chunked = draft.content or b"", True
    draft.trailers = chooser.choices(_TRAILERS, k=chooser.choice((1, 1, 2, 5)))
    if chooser.random() < 0.2:
        draft.trailers.append(chooser.choice(_BAD_TRAILERS))
        draft.clear = draft.ends = False


def _credentials_in_trailers(draft: Draft, _: random.Random) -> None:
    draft.content, draft.chunked, draft.signs_in_trailers = draft.content or b"", True, True


def _absolute(draft: Draft, chooser: random.Random) -> None:
    draft.target = (
        chooser.choice((b"http://x", b"http://x:80", b"https://y", b"http://a@b", b"HTTP://X", b"ftp://x"))
        + draft.target
    )


def _odd_target(draft: Draft, chooser: random.Random) -> None:
    odd = (
        b"*",
        b"",
        b"//",
        b"x",
        b"/%00",
        b"/\x00",
        b"/\x80",
        b"/a b",
        b"/a\tb",
        b"/#a",
        b"/../..",
        b"/" + b"a" * 70_000,
    )
    draft.target = chooser.choice(
        (*odd, draft.target + b"\x00", draft.target + b"#x", b"/." + draft.target, b"?" + draft.target)
    )


def _empty_lines(draft: Draft, chooser: random.Random) -> None:
    draft.before = chooser.choice((b"\r\n", b"\n", b"\r\n\r\n\r\n", b"\r\n" * 40))


def _bare_newlines(draft: Draft, _: random.Random) -> None:
    draft.newline = b"\n"


def _odd_header(draft: Draft, chooser: random.Random) -> None:
    draft.headers += chooser.choices(_ODD_HEADERS, k=chooser.choice((1, 1, 2)))


def _huge_head(draft: Draft, chooser: random.Random) -> None:
    many = [f"X-{number}: a" for number in range(chooser.choice((200, 8000)))]
    draft.headers += chooser.choice((["X: " + "y" * 70_000], ["X" * 70_000 + ": a"], ["X: " + "y" * 30_000], many))


def _gzip_chunked(draft: Draft, chooser: random.Random) -> None:
    draft.content, draft.chunked = draft.content or b"", True
    draft.framing = [
        f"Transfer-Encoding: {chooser.choice(('gzip, chunked', 'deflate, chunked', 'gzip,chunked', 'x, chunked'))}"
    ]


def _same_length_twice(draft: Draft, chooser: random.Random) -> None:
    draft.content = draft.content or b""
    length = f"Content-Length: {len(draft.content)}"
    draft.framing, draft.chunked = chooser.choice(([length, length], [f"{length}, {len(draft.content)}"])), False


def _folded(draft: Draft, _: random.Random) -> None:
    draft.headers.append("X: a\r\n b\r\n\tc")


def _version(draft: Draft, chooser: random.Random) -> None:
    draft.version = chooser.choice(("HTTP/1.0", *VERSIONS))


def _two_lengths(draft: Draft, chooser: random.Random) -> None:
    size = len(draft.content or b"")
    framing = [f"Content-Length: {size}", f"Content-Length: {chooser.choice((0, 1, size + 1, 5))}"]
    _unclear(draft, framing if chooser.random() < 0.8 else [f"{framing[0]}, 0"])


def _length_and_chunks(draft: Draft, chooser: random.Random) -> None:
    draft.chunked = True
    length = chooser.choice((0, 3, len(draft.content or b""), 99_999))
    _unclear(draft, ["Transfer-Encoding: chunked", f"Content-Length: {length}"])


def _odd_coding(draft: Draft, chooser: random.Random) -> None:
    draft.chunked = chooser.random() < 0.5
    framing = [f"Transfer-Encoding: {chooser.choice(_CODINGS)}"]
    if chooser.random() < 0.3:
        framing.insert(0, "Transfer-Encoding: chunked")
    _unclear(draft, framing)


def _odd_framing(draft: Draft, chooser: random.Random) -> None:
    """The right framing in a form that not everybody reads."""
    size = len(draft.content or b"")
    draft.chunked = chooser.random() < 0.5
    name, value = ("Transfer-Encoding", "chunked") if draft.chunked else ("Content-Length", str(size))
    forms = (
        f"{name} : {value}",
        f"{name}:\r\n {value}",
        f"X: a\r{name}: {value}",
        f" {name}: {value}",
        f"{name}\x00: {value}",
    )
    _unclear(
        draft, [chooser.choice((*forms, f"{name}: {value}\x00", f"{name}\t: {value}", f"X: a\r\n {name}: {value}"))]
    )


def _odd_length(draft: Draft, chooser: random.Random) -> None:
    draft.chunked = False
    _unclear(draft, [f"Content-Length: {chooser.choice([length for length in LENGTHS if length != '0'])}"])


def _odd_chunk(draft: Draft, chooser: random.Random) -> None:
    # What follows may make a right one of an extension that is begun.
    draft.chunked, draft.bad_chunk = True, chooser.choice([chunk for chunk in CHUNKS if b";" not in chunk])
    _unclear(draft, None)


def _too_long(draft: Draft, chooser: random.Random) -> None:
    """It ends before the body that it announces, which is longer than all that follows in a conversation."""
    draft.content, draft.chunked = draft.content or b"", False
    draft.framing = [f"Content-Length: {len(draft.content) + chooser.choice((5_000_000, 50_000_000))}"]
    draft.ends = False


def _unclear(draft: Draft, framing: list[str] | None) -> None:
    draft.content = draft.content or b""
    draft.framing, draft.clear, draft.ends = framing, False, False


MUTATIONS: dict[str, Callable[[Draft, random.Random], None]] = {
    "upgrade": _upgrade,
    "connect": _connect,
    "method": _method,
    "encoding": _encoding,
    "trailers": _trailers,
    "credentials in trailers": _credentials_in_trailers,
    "absolute-form": _absolute,
    "odd target": _odd_target,
    "empty lines": _empty_lines,
    "bare newlines": _bare_newlines,
    "odd header": _odd_header,
    "huge head": _huge_head,
    "gzip, chunked": _gzip_chunked,
    "same length twice": _same_length_twice,
    "folded header": _folded,
    "version": _version,
    "two lengths": _two_lengths,
    "length and chunks": _length_and_chunks,
    "odd coding": _odd_coding,
    "odd framing": _odd_framing,
    "odd length": _odd_length,
    "odd chunk": _odd_chunk,
    "too long": _too_long,
}
_OFTEN = ("upgrade", "connect", "trailers", "encoding")


def mutate(draft: Draft, chooser: random.Random) -> None:
    """One or two changes; no other follows one of the framing, which would undo it."""
    names = [*MUTATIONS, *_OFTEN * 2]
    for _ in range(chooser.choice((1, 1, 2, 3))):
        name = chooser.choice(names)
        if draft.framing is None and draft.clear and name not in draft.names:
            MUTATIONS[name](draft, chooser)
            draft.names.append(name)
    if draft.version in ("HTTP/1.0", "HTTP/0.9", "") and draft.chunked:  # which these don't know
        draft.clear = draft.ends = False
