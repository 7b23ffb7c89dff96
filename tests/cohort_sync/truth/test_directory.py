"""`DATA_DIR` for one receiver alone, on a disk of this machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cohort_sync.truth.database import DirectoryLock, check_filesystem, holder_of
from cohort_sync.truth.database import directory as directory_module
from cohort_sync.truth.database.directory import filesystem_of
from foundation.errors import ConfigurationError

_MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /proc rw - proc proc rw
40 22 0:40 / /data rw shared:7 - {kind} server:/export rw
41 40 0:41 / /data/local\\040disk rw - xfs /dev/vdb rw
"""


def test_one_holds_the_lock(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with DirectoryLock.take(directory) or pytest.fail("it is free"):
        assert DirectoryLock.take(directory) is None
        assert holder_of(directory) == f"process {os.getpid()}"
    again = DirectoryLock.take(directory)
    assert again is not None
    again.release()


async def test_another_process_is_waited_for_and_named(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from cohort_sync.truth.database import DirectoryLock\n"
        "lock = DirectoryLock.take(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs here
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == "held\n"
        told: list[str] = []
        waiting = asyncio.create_task(DirectoryLock.wait(tmp_path, held_by=told.append))
        await asyncio.sleep(0)
        assert told == [f"process {holder.pid}"]
        assert not waiting.done()
        holder.kill()
        lock = await asyncio.wait_for(waiting, 30)
    assert holder_of(tmp_path) == f"process {os.getpid()}"
    lock.release()


def test_a_child_does_not_hold_the_lock_on(tmp_path: Path) -> None:
    lock = DirectoryLock.take(tmp_path)
    assert lock is not None
    with subprocess.Popen(["sleep", "60"]) as child:
        lock.release()
        again = DirectoryLock.take(tmp_path)
        child.kill()
    assert again is not None
    again.release()


def test_a_lock_whose_file_was_removed_keeps_nobody_out_for_long(tmp_path: Path) -> None:
    lock = DirectoryLock.take(tmp_path)
    assert lock is not None
    [file] = tmp_path.iterdir()
    file.unlink()
    other = DirectoryLock.take(tmp_path)
    assert other is not None  # the database's own files show that there are two
    lock.release()
    assert DirectoryLock.take(tmp_path) is None
    other.release()


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse", "fuse.sshfs", "9p"])
def test_network_file_systems_are_refused(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(_MOUNTS.format(kind=kind))
    monkeypatch.setattr(directory_module, "_MOUNTS", mounts)
    with pytest.raises(ConfigurationError, match=r"DATA_DIR_ANY_FILESYSTEM=true"):
        check_filesystem(Path("/data/cohorts"))
    check_filesystem(Path("/data/cohorts"), any_filesystem=True)
    check_filesystem(Path("/data/local disk/cohorts"))
    check_filesystem(Path("/database"))


@pytest.mark.parametrize("kind", ["tmpfs", "overlay"])
def test_file_systems_that_pass_are_said(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(_MOUNTS.format(kind=kind))
    monkeypatch.setattr(directory_module, "_MOUNTS", mounts)
    check_filesystem(Path("/data"))
    assert kind in caplog.text


def test_the_last_mount_on_a_point_is_the_one_that_is_seen() -> None:
    mounts = "1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /data rw - nfs b rw\n3 2 0:3 / /data rw - ext4 c rw\nodd line\n"
    assert filesystem_of(Path("/data/x"), mounts) == "ext4"
    assert filesystem_of(Path("/"), "") is None


def test_this_machine_is_known(tmp_path: Path) -> None:
    assert filesystem_of(tmp_path)
