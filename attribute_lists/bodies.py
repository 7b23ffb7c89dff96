"""The members that a page names, as they are kept: `zstd(msgpack([add, remove]))`."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import zstandard

# Twice as fast as level 1, for a third more bytes; a page is packed on the way to its acknowledgement.
_LEVEL = -5
_LARGEST = 512 * 1024 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[bytes], list[bytes]]).decode


class Names(NamedTuple):
    """Whom a page adds and removes; one that is in both is removed."""

    add: list[bytes]
    remove: list[bytes]


def pack(names: Names) -> bytes:
    packed: bytes = zstandard.ZstdCompressor(level=_LEVEL).compress(_encode(names))
    return packed


def unpack(body: bytes) -> Names:
    """Raises `ValueError` for what `pack` did not write."""
    try:
        return Names(*_decode(zstandard.ZstdDecompressor().decompress(body, max_output_size=_LARGEST)))
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise ValueError(f"not a packed page: {error}") from None
