from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """A running installation that knows no list yet. An indirect parameter says how many gateways it has."""
    # The store's directory is not under pytest's: a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="store") as store_directory:
        started = Installation(tmp_path, Path(store_directory), gateways=getattr(request, "param", 1))
        try:
            started.start()
            yield started
        finally:
            started.kill()
