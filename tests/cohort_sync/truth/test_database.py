"""The database: shared commits, files that are watched, disks that are full or read-only."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError

from cohort_sync.truth.database import FILE_NAME, connect_reading, open_database
from cohort_sync.truth.database.connections import SCHEMA
from cohort_sync.truth.tables import AUDIT, INSTALLATION, METADATA
from foundation.errors import BadRequestError, ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from cohort_sync.truth.database import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path, reserve_bytes=4096) as database:
        yield database


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a file system here")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def row(action: str, size: int = 0) -> Callable[[Connection], int]:
    """A work that writes one row and says which one."""

    def work(connection: Connection) -> int:
        values = {"at": 1, "actor": "", "action": action, "account": "", "list": "", "detail": "x" * size}
        key: Any = connection.execute(insert(AUDIT), values).inserted_primary_key
        return int(key[0])

    return work


def failing(error: Exception) -> Callable[[Connection], int]:
    def work(connection: Connection) -> int:
        row("undone")(connection)
        raise error

    return work


async def actions(database: Database) -> list[str]:
    return await database.read(lambda connection: list(connection.execute(select(AUDIT.c.action)).scalars()))


async def refused(database: Database, reason: str) -> None:
    with pytest.raises(UnavailableError) as error:
        await database.write(row("refused"))
    assert error.value.reason == reason
    assert database.trouble is not None
    assert database.trouble.reason == reason


async def test_works_that_wait_together_share_a_commit(database: Database) -> None:
    before = database.commits
    numbers = await asyncio.gather(*(database.write(row(str(number))) for number in range(200)))
    assert numbers == list(range(1, 201))
    assert database.commits - before < 20
    assert await actions(database) == [str(number) for number in range(200)]


async def test_a_work_that_raises_undoes_itself_and_nothing_else(database: Database) -> None:
    def clashing(connection: Connection) -> None:
        connection.execute(insert(INSTALLATION), {"only": 1, "id": "x", "tag_key": b"", "created_at": 0})

    works = [row("a"), failing(ValueError("a mistake")), row("b"), clashing, failing(BadRequestError("no")), row("c")]
    outcomes = await asyncio.gather(*(database.write(work) for work in works), return_exceptions=True)
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [int, ValueError, int, IntegrityError, BadRequestError, int]
    assert await actions(database) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="alone"):
        await database.write(failing(ValueError("alone")))
    assert await actions(database) == ["a", "b", "c"]
    assert database.trouble is None


def test_any_number_of_event_loops_may_write(tmp_path: Path) -> None:
    async def send(database: Database, loop: int) -> list[int]:
        return await asyncio.gather(*(database.write(row(f"{loop} {number}")) for number in range(50)))

    async def run() -> None:
        async with open_database(tmp_path, reserve_bytes=4096) as database:
            threads = (asyncio.to_thread(asyncio.run, send(database, loop)) for loop in range(4))
            numbers = list(itertools.chain(*await asyncio.gather(*threads)))
            assert sorted(numbers) == list(range(1, 201))

    asyncio.run(run())


async def test_a_caller_that_goes_away_leaves_its_work_to_be_done(database: Database) -> None:
    gone = asyncio.create_task(database.write(row("gone")))
    await asyncio.sleep(0)
    gone.cancel()
    await database.write(row("stays"))
    assert await actions(database) == ["gone", "stays"]


async def test_a_read_sees_one_moment_and_can_not_write(database: Database) -> None:
    with pytest.raises(UnavailableError) as error:
        await database.read(row("x"))
    assert error.value.reason == "disk_read_only"
    loop = asyncio.get_running_loop()
    begun, written = asyncio.Event(), asyncio.Event()

    def twice(connection: Connection) -> tuple[int, int]:
        first = len(connection.execute(select(AUDIT)).all())
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(written.wait(), loop).result()
        return first, len(connection.execute(select(AUDIT)).all())

    reading = asyncio.create_task(database.read(twice))
    await begun.wait()
    await database.write(row("meanwhile"))
    written.set()
    assert await reading == (0, 0)


async def test_the_installation_is_the_same_after_a_restart(tmp_path: Path) -> None:
    async with open_database(tmp_path, reserve_bytes=4096) as database:
        first = database.installation
        await database.write(row("kept"))
    async with open_database(tmp_path, reserve_bytes=4096) as database:
        assert database.installation == first
        assert await actions(database) == ["kept"]
    assert len(first.tag_key) == 32
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


async def test_how_the_database_is_set_up(database: Database) -> None:
    def settings(connection: Connection) -> dict[str, Any]:
        names = ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "user_version")
        return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}

    assert await database.write(settings) == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "user_version": max(int(path.stem) for path in SCHEMA.iterdir()),
    }


async def test_the_tables_are_those_of_the_schema(database: Database) -> None:
    def columns(connection: Connection) -> dict[str, list[str]]:
        return {
            table: [column[1] for column in connection.exec_driver_sql(f"PRAGMA table_info({table})")]
            for table in METADATA.tables
        }

    found = await database.read(columns)
    assert {table.name: set(table.columns.keys()) - set(found[table.name]) for table in METADATA.sorted_tables} == {
        name: set() for name in found
    }
    tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
    names = await database.read(lambda connection: set(connection.exec_driver_sql(tables).scalars()))
    assert names == set(METADATA.tables)


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("PRAGMA user_version=9999; PRAGMA application_id=1128748883;", "newer"),
        ("CREATE TABLE x (y);", "another program"),
        ("PRAGMA application_id=7;", "another program"),
    ],
)
async def test_a_strange_file_is_refused(tmp_path: Path, script: str, word: str) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.executescript(script)
    with pytest.raises(ConfigurationError, match=word):
        async with open_database(tmp_path):
            pass


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigurationError):
        async with open_database(tmp_path):
            pass


async def test_a_start_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch()
    async with open_database(tmp_path, reserve_bytes=4096) as database:
        await database.write(row("a"))


def remove(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_suffix(".away"))


def cut(path: Path) -> None:
    os.truncate(path, 0)


def cut_a_little(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


def replace(path: Path) -> None:
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    copy.rename(path)


def overwrite(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(4096))


def write_over(path: Path) -> None:
    """As `cp` does with an older copy of the same size."""
    before = path.stat()
    while path.stat().st_mtime_ns == before.st_mtime_ns:  # the clock of a file system ticks slowly
        with path.open("r+b") as file:
            file.write(bytes(before.st_size))


@pytest.mark.parametrize("damage", [remove, move, cut, cut_a_little, replace, overwrite, write_over])
@pytest.mark.parametrize("suffix", ["", "-wal"])
async def test_nothing_is_acknowledged_into_files_that_are_gone(
    tmp_path: Path, damage: Callable[[Path], None], suffix: str
) -> None:
    data = tmp_path / "data"
    async with open_database(data, reserve_bytes=4096) as database:
        await database.write(row("kept", size=20_000))
        assert not database.is_lost
        damage(data / f"{FILE_NAME}{suffix}")
        await refused(database, "database_lost")
        assert database.is_lost
        await refused(database, "database_lost")
        outcomes = await asyncio.gather(*(database.write(row("x")) for _ in range(5)), return_exceptions=True)
        assert all(isinstance(outcome, UnavailableError) for outcome in outcomes)


async def test_files_that_go_during_a_commit_are_noticed_before_its_answer(tmp_path: Path) -> None:
    async with open_database(tmp_path, reserve_bytes=4096) as database:

        def work(connection: Connection) -> int:
            written = row("lost")(connection)
            move(tmp_path / FILE_NAME)
            return written

        with pytest.raises(UnavailableError) as error:
            await database.write(work)
        assert error.value.reason == "database_lost"


async def test_checkpoints_of_its_own_are_no_loss(tmp_path: Path) -> None:
    async with open_database(tmp_path, reserve_bytes=4096) as database:
        for turn in range(12):
            await asyncio.gather(*(database.write(row(f"{turn}", 500_000), size=500_000) for _ in range(12)))
        assert (tmp_path / f"{FILE_NAME}-wal").stat().st_size < 64 * 1024 * 1024
        assert (tmp_path / FILE_NAME).stat().st_size > 32 * 1024 * 1024
        assert len(await actions(database)) == 144


async def test_other_processes_may_read_meanwhile(database: Database) -> None:
    script = (
        "import sys; from pathlib import Path; from cohort_sync.truth.database import connect_reading\n"
        "with connect_reading(Path(sys.argv[1])) as connection:\n"
        "    print(connection.exec_driver_sql('SELECT count(*) FROM audit').scalar())"
    )
    command = [sys.executable, "-c", script, str(database.path)]
    for number in range(1, 3):
        await database.write(row("a"))
        read = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
        assert read.stdout == f"{number}\n"
    await database.write(row("a"))
    assert await database.truncate_log()
    await database.write(row("a"))


async def test_a_database_that_nobody_has_open_can_be_read(tmp_path: Path) -> None:
    async with open_database(tmp_path, reserve_bytes=4096) as database:
        await database.write(row("a"))
    for _ in range(2):
        with connect_reading(tmp_path / FILE_NAME) as connection:
            assert connection.execute(select(AUDIT.c.action)).scalars().all() == ["a"]
    async with open_database(tmp_path, reserve_bytes=4096) as database:
        await database.write(row("b"))


async def test_a_work_outside_of_transactions(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with open_database(tmp_path / "data", reserve_bytes=4096) as database:
        await database.write(row("a"))
        together = asyncio.gather(*(database.write(row("b")) for _ in range(5)))
        await database.write_outside(lambda connection: connection.exec_driver_sql("VACUUM INTO ?", (str(copy),)))
        await together
        await database.write(row("c"))
    with connect_reading(copy) as connection:
        assert "a" in set(connection.execute(select(AUDIT.c.action)).scalars())


async def test_what_was_deleted_is_in_no_file_once_the_log_is_truncated(database: Database) -> None:
    secret = b"erased-person@example.com"
    await database.write(row(secret.decode()))
    await database.write(lambda connection: connection.execute(delete(AUDIT)))
    log = database.path.with_name(f"{FILE_NAME}-wal")
    assert secret in log.read_bytes()
    loop = asyncio.get_running_loop()
    begun, ended = asyncio.Event(), asyncio.Event()

    def read(connection: Connection) -> None:
        connection.execute(select(AUDIT)).all()
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(ended.wait(), loop).result()

    reading = asyncio.create_task(database.read(read))
    await begun.wait()
    assert not await database.truncate_log()
    ended.set()
    await reading
    assert await database.truncate_log()
    assert secret not in log.read_bytes() + database.path.read_bytes()
    await database.write(row("after"))


def fill_up(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


async def test_a_full_disk(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    async with open_database(small_disk, reserve_bytes=1 << 20) as database:
        await database.write(row("a"))
        fill_up(ballast)
        for _ in range(20):  # the log has some room left
            with contextlib.suppress(UnavailableError):
                await database.write(row("b", size=100_000))
        assert database.trouble is not None
        assert database.trouble.reason == "disk_full"
        kept = await actions(database)
        await database.write(lambda connection: connection.execute(select(AUDIT.c.id)).all())
        assert database.trouble is not None, "a work that writes nothing says nothing of the disk"
        assert database.release_reserve()
        assert not database.release_reserve()
        await refused(database, "disk_full")  # the room is not for pages
        await database.write_from_reserve(row("erased"))
        assert database.trouble is not None
        ballast.unlink()
        await database.write(row("c", size=100_000))
        assert database.trouble is None
        assert database.release_reserve(), "it is held again"
        assert await actions(database) == [*kept, "erased", "c"]
    async with open_database(small_disk, reserve_bytes=1 << 20) as database:
        assert await actions(database) == [*kept, "erased", "c"]


async def test_what_must_go_on_takes_the_reserve_of_a_full_disk(small_disk: Path) -> None:
    async with open_database(small_disk, reserve_bytes=1 << 20) as database:
        fill_up(small_disk / "ballast")
        with pytest.raises(UnavailableError):  # noqa: PT012 - the log has some room left
            while True:
                await database.write(row("page", size=10_000))
        kept = await actions(database)
        for _ in range(3):
            await database.write_from_reserve(row("erased", size=100_000))
        await refused(database, "disk_full")
        assert await actions(database) == [*kept, *["erased"] * 3]


async def test_a_full_disk_fails_all_that_share_the_commit(small_disk: Path) -> None:
    async with open_database(small_disk, reserve_bytes=4096) as database:
        works = [row("small"), row("large", size=6_000_000), row("small")]
        outcomes = await asyncio.gather(*(database.write(work) for work in works), return_exceptions=True)
        acknowledged = [outcome for outcome in outcomes if isinstance(outcome, int)]
        reasons = {outcome.reason for outcome in outcomes if isinstance(outcome, UnavailableError)}
        assert reasons == {"disk_full"}
        assert len(await actions(database)) == len(acknowledged)
        await database.write(row("after"))
        await database.check()


@pytest.fixture
def ext4_disk(tmp_path: Path) -> Iterator[Path]:
    image, path = tmp_path / "image", tmp_path / "disk"
    path.mkdir()
    image.touch()
    os.truncate(image, 20 << 20)
    commands = (["mkfs.ext4", "-q", "-F", str(image)], ["mount", "-o", "loop", str(image), str(path)])
    try:
        for command in commands:
            subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a file system here")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


async def test_a_disk_that_becomes_read_only(ext4_disk: Path) -> None:
    async with open_database(ext4_disk, reserve_bytes=4096) as database:
        await database.write(row("a"))
        # What the kernel does by itself when such a disk fails.
        abort = ["mount", "-o", "remount,abort", str(ext4_disk)]
        if await asyncio.to_thread(lambda: subprocess.run(abort, check=False, capture_output=True).returncode):
            pytest.skip("this kernel aborts no file system on request")
        for _ in range(2):
            await refused(database, "disk_read_only")
        assert await actions(database) == ["a"]


async def test_an_io_error_is_told_and_passes(database: Database) -> None:
    fails = True

    def work(connection: Connection) -> int:
        if fails:
            cause = sqlite3.OperationalError("disk I/O error")
            cause.sqlite_errorcode = sqlite3.SQLITE_IOERR | (4 << 8)
            raise OperationalError("INSERT", {}, cause)
        return row("a")(connection)

    for _ in range(2):
        with pytest.raises(UnavailableError) as error:
            await database.write(work)
        assert error.value.reason == "disk_error"
    fails = False
    await database.write(work)
    assert database.trouble is None


async def test_another_program_that_locks_the_database(database: Database) -> None:
    await database.write(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout=1").close())
    with contextlib.closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await refused(database, "database_busy")
        other.execute("ROLLBACK")
    await database.write(row("a"))


async def test_after_the_end_nothing_is_accepted(tmp_path: Path) -> None:
    async with open_database(tmp_path, reserve_bytes=4096) as database:
        waiting = [asyncio.create_task(database.write(row("a"))) for _ in range(10)]
        await asyncio.sleep(0)
    assert len(await asyncio.gather(*waiting)) == 10
    with pytest.raises(UnavailableError):
        await database.write(row("b"))


async def test_a_directory_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigurationError):
        async with open_database(file / "data"):
            pass
