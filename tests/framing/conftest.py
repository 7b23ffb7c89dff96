from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.framing.ports import NAMES, Installation, Port, running_installation

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with running_installation(tmp_path_factory.mktemp("installation")) as installation:
        yield installation


@pytest.fixture(params=NAMES)
def port(request: pytest.FixtureRequest, installation: Installation) -> Port:
    """Each port in turn."""
    return installation.port(request.param)
