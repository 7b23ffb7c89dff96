"""Archives that are cut short, damaged, of another format or hostile are refused, before anything changes."""

from __future__ import annotations

import io
import random
import re
from typing import TYPE_CHECKING

import pytest
import zstandard

from attribute_lists.archive import format as archive_format
from attribute_lists.archive import inspect_archive, read_archive
from attribute_lists.archive.format import (
    ArchiveReader,
    ArchiveWriter,
    Begins,
    Definition,
    Ends,
    ListBegins,
    ListEnds,
    Members,
    Record,
    State,
)
from foundation.errors import BadRequestError
from tests.attribute_lists.archives import ORDERING, fill, written

if TYPE_CHECKING:
    import redis

    from foundation.store import Store


@pytest.fixture
async def archive(client: Store, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """An archive of many blocks, and an empty store."""
    monkeypatch.setattr(archive_format, "_BLOCK", 512)
    await fill(client)
    content = (await written(client)).getvalue()
    await client.flushall()
    return content


async def records_of(content: bytes) -> list[Record]:
    return [record async for record in ArchiveReader(io.BytesIO(content)).records()]


async def test_every_truncation_is_refused(client: Store, store: redis.Redis, archive: bytes) -> None:
    offsets = random.Random(7).sample(range(len(archive)), 150)  # noqa: S311 - any will do
    for offset in [0, 1, 8, len(archive) - 1, *offsets]:
        with pytest.raises(BadRequestError):
            await read_archive(client, io.BytesIO(archive[:offset]), ordering=ORDERING)
    assert store.dbsize() == 0
    with pytest.raises(BadRequestError, match=r"cut short, in list 123456 heap_gold after [1-9]"):
        await inspect_archive(io.BytesIO(archive[: len(archive) // 4]))


async def test_no_damage_goes_unnoticed(archive: bytes) -> None:
    whole = await records_of(archive)
    rng = random.Random(7)  # noqa: S311 - any will do
    for offset in [*range(64), *rng.sample(range(len(archive)), 400)]:
        damaged = bytearray(archive)
        damaged[offset] ^= 1 << rng.randrange(8)
        try:
            found = await records_of(bytes(damaged))
        except BadRequestError:
            continue
        assert found == whole  # a bit that zstandard gives no meaning


async def test_blocks_that_are_missing_moved_or_added_are_noticed(archive: bytes) -> None:
    starts = [found.start() for found in re.finditer(rb"\x5b\x2a\x4d\x18\x08\0\0\0", archive)]
    head, *blocks = [archive[start:end] for start, end in zip([0, *starts], [*starts, len(archive)], strict=True)]
    assert len(blocks) > 6
    for other in (
        [head, *blocks[:3], *blocks[4:]],
        [head, *blocks[:3], blocks[4], blocks[3], *blocks[5:]],
        [head, *blocks[:3], blocks[3], *blocks[3:]],
        [head, *blocks, blocks[-1]],
        [head, *blocks, b"\n"],
        [head, *blocks[:-1]],
    ):
        with pytest.raises(BadRequestError):
            await records_of(b"".join(other))


@pytest.mark.parametrize("content", [b"", b"account,member\n1,2\n" * 100, zstandard.compress(b"x" * 1000)])
async def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(BadRequestError, match="not an archive"):
        await inspect_archive(io.BytesIO(content))


async def test_an_unknown_format_is_refused_with_the_way_out(archive: bytes) -> None:
    with pytest.raises(BadRequestError, match=r"format 7.*reads format 1.*export again") as caught:
        await inspect_archive(io.BytesIO(archive.replace(b"archive 1\n", b"archive 7\n", 1)))
    assert caught.value.reason == "unknown_archive_format"


async def test_a_pipe_is_refused(archive: bytes) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(BadRequestError, match="read twice"):
        await inspect_archive(Pipe(archive))


LIST = (ListBegins("1", "gold"), State({}, None, {}), Members([b"a"]), ListEnds(1))
BEGINS = Begins(1, False)


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([*LIST, Definition("1", "gold", [], []), Ends(1, 1)], "out of order"),
        ([BEGINS, *LIST, ListEnds(1)], "out of order"),
        ([BEGINS, *LIST[:3], ListEnds(2)], "members are missing"),
        ([BEGINS, *LIST, *LIST], "twice"),
        ([BEGINS, *LIST, Definition("1", "silver", [], [])], "does not hold"),
        ([BEGINS, *LIST, Definition("1", "gold", [], ["}"])], "aliases"),
        ([BEGINS, *LIST, Ends(1, 2)], "totals"),
        ([BEGINS, *LIST, Ends(1, 1), BEGINS], "out of order"),
        ([BEGINS, ListBegins("1}:x", "gold")], "account"),
        ([BEGINS, ListBegins("1", "gold}x")], "list"),
        ([BEGINS, ListBegins("1", "gold"), State({}, {"t:x": "nonsense"}, {})], "ledger"),
    ],
)
async def test_what_no_writer_writes_is_refused(records: list[Record], problem: str) -> None:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    for record in records:
        await writer.write(record)
    await writer.flush()
    file.seek(0)
    with pytest.raises(BadRequestError, match=problem):
        await inspect_archive(file)


async def test_the_file_is_one_of_zstandard(archive: bytes) -> None:
    """As the documentation says: what any zstandard makes of it are the records."""
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(archive), read_across_frames=True)
    plain = reader.read()
    assert plain[:1] == b"\xdd"
    assert b"gold-2999" in plain
