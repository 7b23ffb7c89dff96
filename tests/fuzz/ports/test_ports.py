"""Short runs of `scripts/fuzz_ports`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.fuzz.ports.installation import Installation, installation
from tests.fuzz.ports.routes import PORTS, Port
from tests.fuzz.ports.run import PortFuzz

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def installed() -> Iterator[Installation]:
    with installation() as found:
        yield found


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.name)
def test_a_few_hundred_odd_requests(installed: Installation, port: Port) -> None:
    tally = uvloop.run(PortFuzz(port, installed, seed=300, start=0, requests=300).run(lambda _: None))
    assert not tally.failures, tally.told()
    assert tally.requests >= 300
    assert {"200", "400"} <= tally.statuses.keys()
