from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.write_side.sites import Site, running_site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.write_side.sides import WriteSide


@pytest.fixture
def site(side: WriteSide) -> Iterator[Site]:
    """One of the test's own, of the write side that it is run for."""
    with running_site(side) as site:
        yield site


@pytest.fixture(scope="module")
def sites() -> Iterator[Callable[[WriteSide], Site]]:
    """One for each write side."""
    with contextlib.ExitStack() as stack:
        running: dict[str, Site] = {}

        def of(side: WriteSide) -> Site:
            if side.name not in running:
                running[side.name] = stack.enter_context(running_site(side))
            running[side.name].side = side  # tests differ in how long they wait
            return running[side.name]

        yield of


@pytest.fixture
def shared(side: WriteSide, sites: Callable[[WriteSide], Site]) -> Site:
    """One that many tests use, each with segments of its own."""
    return sites(side)
