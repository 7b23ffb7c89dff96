from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.end_to_end.installation import Installation
from tests.support.fake_vwo import fake_vwo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fake_vwo import FakeVwo


@contextlib.contextmanager
def running(directory: Path, **options: Any) -> Iterator[Installation]:
    """A running installation (`options` are of its class) that knows no list yet."""
    # The store's directory is not under pytest's: a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="store") as store_directory:
        started = Installation(directory, Path(store_directory), **options)
        try:
            started.start()
            yield started
        finally:
            started.kill()


@pytest.fixture(scope="module")
def vwo() -> Iterator[FakeVwo]:
    with fake_vwo() as served:
        yield served


@pytest.fixture
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """An indirect parameter says how many gateways it has."""
    with running(tmp_path, gateways=getattr(request, "param", 1)) as started:
        yield started
