"""How a journal file looks on disk.

A file is a header and frames. A frame is a head and its payload; its kind is a record, or the seal: the last frame of
a file that was closed, whose payload sums the file up. A file that was packed is a zstd "skippable frame" with header
and summary, and then the whole plain file as one zstd frame, so that `zstd -d` reads it too.

Every file has a marker of its own, eight random bytes at the head of each frame. By it, reading finds the next frame
behind a damaged one, and no payload can be mistaken for a frame, whoever wrote the payload.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from foundation.errors import ConfigurationError

VERSION = 1
RECORD, SEAL = 1, 2
MARKER_BYTES = 8

_MAGIC = b"cg-jrnl\n"
_SKIPPABLE = 0x184D2A50  # RFC 8878, 3.1.2

_MAGIC_VERSION = struct.Struct("<8sH")
_HEADER = struct.Struct("<8sHH8sQ")  # magic, version, reserved, marker, begun
_FRAME = struct.Struct("<8sHHIIQQ")  # marker, kind, reserved, length, CRC of the payload, time, synced
_SUMMARY = struct.Struct("<QQQI")
_CRC = struct.Struct("<I")
_PACKED = struct.Struct("<II")

HEADER_BYTES = _HEADER.size + _CRC.size
HEAD_BYTES = _FRAME.size + _CRC.size
SEAL_BYTES = HEAD_BYTES + _SUMMARY.size
PACKED_PREFIX_BYTES = _PACKED.size + HEADER_BYTES + _SUMMARY.size + _CRC.size
LARGEST_PAYLOAD = 1 << 30


class DamagedHeaderError(ValueError):
    """The file does not begin as a journal file does."""


class NeverBegunError(DamagedHeaderError):
    """Not even the header is there. It is on disk before any record is written, so no record was ever acknowledged."""


class Header(NamedTuple):
    marker: bytes
    begun_ms: int


class Head(NamedTuple):
    """`synced`: the offset in the file up to which all was on disk before this frame was written.

    So a frame proves that whatever is damaged before its `synced` had been acknowledged, and is no torn write.
    """

    kind: int
    length: int
    payload_crc: int
    time_ms: int
    synced: int


class Summary(NamedTuple):
    """What a closed file holds. `cut`: damaged places that were left out when it was rewritten."""

    records: int
    oldest_ms: int
    newest_ms: int
    cut: int = 0


def pack_header(header: Header) -> bytes:
    return _with_crc(_HEADER.pack(_MAGIC, VERSION, 0, header.marker, header.begun_ms))


def unpack_header(data: bytes, name: str) -> Header:
    """Raises `ConfigurationError` for another version (`name` says where), `DamagedHeaderError` for anything else."""
    if len(data) < HEADER_BYTES or not data.startswith(_MAGIC):
        raise DamagedHeaderError("not a journal file, or its header is damaged")
    # The version comes first: what follows it, the checksum too, may be laid out otherwise in another version.
    _, version = _MAGIC_VERSION.unpack_from(data)
    if version != VERSION:
        raise ConfigurationError(
            f"the journal file {name} has format version {version}, this program knows version {VERSION}: run the"
            " release that wrote it, or, when Redis is known to hold all that it says, move that directory away"
        )
    if not _crc_fits(data[:HEADER_BYTES]):
        raise DamagedHeaderError("its header is damaged")
    _, _, _, marker, begun_ms = _HEADER.unpack_from(data)
    return Header(marker, begun_ms)


def pack_head(marker: bytes, head: Head) -> bytes:
    kind, length, payload_crc, time_ms, synced = head
    return _with_crc(_FRAME.pack(marker, kind, 0, length, payload_crc, time_ms, synced))


def unpack_head(data: bytes, marker: bytes) -> Head | None:
    """None: there is no undamaged head of a frame here."""
    if len(data) != HEAD_BYTES or not data.startswith(marker) or not _crc_fits(data):
        return None
    _, kind, _, length, payload_crc, time_ms, synced = _FRAME.unpack_from(data)
    return Head(kind, length, payload_crc, time_ms, synced)


def pack_seal(marker: bytes, summary: Summary, *, end: int) -> bytes:
    payload = _SUMMARY.pack(*summary)
    return pack_head(marker, Head(SEAL, len(payload), zlib.crc32(payload), summary.newest_ms, end)) + payload


def unpack_summary(payload: bytes) -> Summary:
    return Summary(*_SUMMARY.unpack(payload))


def pack_prefix(header: Header, summary: Summary) -> bytes:
    """What a packed file begins with."""
    content = pack_header(header) + _with_crc(_SUMMARY.pack(*summary))
    return _PACKED.pack(_SKIPPABLE, len(content)) + content


def is_packed(data: bytes) -> bool:
    return data.startswith(_CRC.pack(_SKIPPABLE))


def unpack_prefix(data: bytes, name: str) -> tuple[Header, Summary]:
    """Raises as `unpack_header` does."""
    header = unpack_header(data[_PACKED.size :], name)
    content = data[_PACKED.size + HEADER_BYTES : PACKED_PREFIX_BYTES]
    if len(content) != _SUMMARY.size + _CRC.size or not _crc_fits(content):
        raise DamagedHeaderError("its header is damaged")
    return header, unpack_summary(content[: _SUMMARY.size])


def _with_crc(data: bytes) -> bytes:
    return data + _CRC.pack(zlib.crc32(data))


def _crc_fits(data: bytes) -> bool:
    return data[-_CRC.size :] == _CRC.pack(zlib.crc32(data[: -_CRC.size]))
