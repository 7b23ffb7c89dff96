"""JSON as others write it, in bodies and in files: UTF-8, with a byte-order mark or without."""

from __future__ import annotations

import codecs

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class EncodingError(ValueError):
    """The content is no UTF-8; the text says how to mend it, and holds nothing of the content."""


def utf8(content: bytes) -> bytes:
    """`content` without its byte-order mark, which readers may skip (RFC 8259, 8.1). Raises `EncodingError`.

    In UTF-16 and UTF-32 one of the first two bytes of every JSON is zero, where there is no mark.
    """
    if content.startswith(codecs.BOM_UTF8):
        return content[len(codecs.BOM_UTF8) :]
    if content.startswith(_UTF_16) or 0 in content[:2]:
        raise EncodingError("it is UTF-16 or UTF-32; save or send it as UTF-8")
    return content


def no_json(error: Exception) -> str:
    """What is wrong with a content that can't be read as JSON: `no JSON`, and why, where that is known."""
    return f"no JSON ({error})" if isinstance(error, EncodingError) else "no JSON"
