"""Settings that can't be right are refused by name."""

from __future__ import annotations

import pytest

from cohort_sync.settings import CohortSyncSettings
from foundation.errors import ConfigurationError
from foundation.settings import load_settings


@pytest.mark.parametrize(
    "address",
    ["heap.example.com", "ftp://x", "https://", "https://u:p@x", "https://x?y", "https://x:y", "https://x/ y"],
)
def test_addresses_must_be_web_addresses(address: str) -> None:
    with pytest.raises(ConfigurationError, match="PUBLIC_URL"):
        load_settings(CohortSyncSettings, public_url=address)
