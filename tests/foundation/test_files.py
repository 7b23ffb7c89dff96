"""Which file stands at a path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from foundation.files import file_identity
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def written_over(path: Path) -> None:
    path.write_text("other!")


def written_over_with_the_time_of_before(path: Path) -> None:
    """As `cp --preserve` of a file whose date a build sets."""
    before = path.stat()
    path.write_text("other!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def another_put_in_its_place(path: Path) -> None:
    before = path.stat()
    aside = path.with_name("aside")
    aside.write_text("other!")
    os.utime(aside, ns=(before.st_atime_ns, before.st_mtime_ns))
    aside.replace(path)


@pytest.mark.parametrize("change", [written_over, written_over_with_the_time_of_before, another_put_in_its_place])
def test_a_file_of_the_same_size_is_another_one_once_it_changed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    before = file_identity(path)
    assert file_identity(path) == before

    def is_another() -> bool:  # the file system's clock takes its time
        change(path)
        return file_identity(path) != before

    until(is_another, what="another identity")
