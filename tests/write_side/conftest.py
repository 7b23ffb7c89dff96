from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.write_side.sites import Site, running_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.write_side.sides import WriteSide


@pytest.fixture
def site(side: WriteSide) -> Iterator[Site]:
    """Of the write side that the test is run for."""
    with running_site(side) as site:
        yield site
