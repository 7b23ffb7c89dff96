"""Codings of request bodies (RFC 9110, 8.4; RFC 9112, 7): what a request names, and the body unpacked in slices."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from foundation.errors import BadRequestError, CohortGatewayError, UnsupportedEncodingError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

HEADER = "Content-Encoding"
GZIP, DEFLATE = "gzip", "deflate"
ENCODINGS = (GZIP, DEFLATE)

_NAMES = (HEADER.lower().encode(), b"transfer-encoding")  # in the order in which they are applied
_SAME = {"x-gzip": GZIP}  # RFC 9110, 8.4.1.3
_UNTOUCHED = ("", "identity", "chunked")  # the server takes chunks apart, and leaves `gzip, chunked` packed
_SLICE = 64 * 1024  # bytes that are unpacked in one go, some 0.2 ms
_FED = 16 * 1024  # packed bytes looked at in one go; zlib copies what it leaves of them
_MOST_MEMBERS = 1000  # files that may stand one behind the other in a gzip body (RFC 1952, 2.2)
_WITH_GZIP_HEAD = 16 + zlib.MAX_WBITS
_WITHOUT_HEAD = -zlib.MAX_WBITS
_ZLIB_METHOD, _ZLIB_CHECK = 8, 31  # RFC 1950, 2.2
_ODD = re.compile(r"[^!-~]+")
_LONGEST_SHOWN = 40


def encoding_of(
    headers: Iterable[tuple[bytes, bytes]],
    known: Collection[str] = ENCODINGS,
    *,
    refusal: type[CohortGatewayError] = UnsupportedEncodingError,
) -> str | None:
    """What a body is packed with, one of `known`; None where it comes as it is. Raises `refusal` for anything else.

    `headers`: those of the request, as ASGI has them.
    """
    found = sorted((_NAMES.index(name), value) for name, value in headers if name in _NAMES)
    if not found:
        return None
    given = [name.strip().lower() for name in b",".join(value for _, value in found).decode("latin-1").split(",")]
    applied = [_SAME.get(name, name) for name in given if name not in _UNTOUCHED]
    if not applied:
        return None
    if len(applied) > 1 or applied[0] not in known:
        shown = _ODD.sub("?", ",".join(applied))[:_LONGEST_SHOWN]
        cure = f"{' or '.join(known)}, or " if known else ""
        raise refusal(
            f"{HEADER}: {shown} is not read here; send {cure}the body as it is", reason="unsupported_encoding"
        )
    return applied[0]


def unpacked(packed: bytes, encoding: str) -> Iterator[bytes]:
    """The content of `packed` in slices of at most 64 KiB, each made when it is asked for; some may be empty.

    Raises `BadRequestError` where it is cut short, damaged, or followed by anything else.
    """
    window = _WITH_GZIP_HEAD if encoding == GZIP else _window_of_deflate(packed)
    inflater = zlib.decompressobj(window)
    members = 1
    try:
        for start in range(0, len(packed), _FED):
            data = packed[start : start + _FED]
            while data:
                if inflater.eof:
                    members += 1
                    if encoding != GZIP or members > _MOST_MEMBERS:
                        raise _bad(encoding, "something follows its end")
                    inflater = zlib.decompressobj(window)
                full = True
                while full:  # even without input it may have more to give
                    piece = inflater.decompress(data, _SLICE)
                    yield piece
                    data, full = inflater.unconsumed_tail, len(piece) == _SLICE and not inflater.eof
                data = inflater.unused_data
    except zlib.error:
        raise _bad(encoding, "it is damaged, or something follows its end") from None
    if not inflater.eof:
        raise _bad(encoding, "it is cut short")


def _window_of_deflate(packed: bytes) -> int:
    """`deflate` means the zlib format; some senders leave out its head (RFC 9110, 8.4.1.2)."""
    has_head = packed[0] & 0x0F == _ZLIB_METHOD and int.from_bytes(packed[:2]) % _ZLIB_CHECK == 0
    return zlib.MAX_WBITS if has_head else _WITHOUT_HEAD


def _bad(encoding: str, what: str) -> BadRequestError:
    return BadRequestError(
        f"{HEADER}: the body can't be unpacked as {encoding}: {what}; pack it again, or send it as it is",
        reason="bad_encoding",
    )
