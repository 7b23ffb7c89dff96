"""Bodies packed in every way in which a sender may pack them, rightly and wrongly."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = "Content-Encoding"


class Packing(NamedTuple):
    """`encoding`: what the header says. `pack` makes the body of its content."""

    encoding: str
    pack: Callable[[bytes], bytes]


def members(content: bytes, *, count: int = 2) -> bytes:
    """A gzip file of several, one behind the other (RFC 1952, 2.2)."""
    size = -(-len(content) // count) or 1
    return b"".join(gzip.compress(content[at : at + size]) for at in range(0, max(len(content), 1), size))


def deflate_without_head(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def damaged(content: bytes) -> bytes:
    """One bit of the checksum is another."""
    packed = bytearray(gzip.compress(content))
    packed[-8] ^= 1
    return bytes(packed)


def as_it_is(content: bytes) -> bytes:
    return content


def bomb(size: int) -> bytes:
    """A thousandth of `size` zeros."""
    return gzip.compress(bytes(size))


READABLE = {
    "gzip": Packing("gzip", gzip.compress),
    "x-gzip": Packing("x-gzip", gzip.compress),
    "capitals": Packing("GZip", gzip.compress),
    "listed with identity": Packing("identity , GZIP", gzip.compress),
    "not compressed inside": Packing("gzip", lambda content: gzip.compress(content, 0)),
    "two members": Packing("gzip", members),
    "an empty member": Packing("gzip", lambda content: gzip.compress(content) + gzip.compress(b"")),
    "deflate": Packing("deflate", zlib.compress),
    "deflate without its head": Packing("Deflate", deflate_without_head),
    "identity": Packing("identity", as_it_is),
    "an empty header": Packing("", as_it_is),
}
BROKEN = {
    "not packed": Packing("gzip", as_it_is),
    "cut short by a byte": Packing("gzip", lambda content: gzip.compress(content)[:-1]),
    "cut in half": Packing("gzip", lambda content: gzip.compress(content)[: len(gzip.compress(content)) // 2]),
    "its head alone": Packing("gzip", lambda _: gzip.compress(b"")[:10]),
    "damaged": Packing("gzip", damaged),
    "garbage behind it": Packing("gzip", lambda content: gzip.compress(content) + b"}"),
    "zeros behind it": Packing("gzip", lambda content: gzip.compress(content) + bytes(8)),
    "half a member behind it": Packing("gzip", lambda content: gzip.compress(content) + gzip.compress(content)[:9]),
    "a thousand members and more": Packing("gzip", lambda content: gzip.compress(content) + gzip.compress(b"") * 1500),
    "zlib's format": Packing("gzip", zlib.compress),
    "deflate, cut short": Packing("deflate", lambda content: zlib.compress(content)[:-1]),
    "deflate, something behind it": Packing("deflate", lambda content: zlib.compress(content) + b"x"),
    "deflate, gzip's format": Packing("deflate", gzip.compress),
    "deflate, one byte": Packing("deflate", lambda _: b"\x78"),
}
UNKNOWN = {
    "br": Packing("br", as_it_is),
    "zstd": Packing("zstd", as_it_is),
    "twice gzip": Packing("gzip, gzip", lambda content: gzip.compress(gzip.compress(content))),
    "gzip and another": Packing("gzip,br", gzip.compress),
    "a name that is none": Packing("utf-8", as_it_is),
    "beyond ASCII": Packing("gz\xedp", as_it_is),
}
