from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cohort_sync.truth.facts_in_tests import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.cohort_sync.truth.facts_in_tests import Written


@pytest.fixture
async def written(tmp_path: Path) -> AsyncIterator[Written]:
    async with opened(tmp_path) as written:
        yield written
