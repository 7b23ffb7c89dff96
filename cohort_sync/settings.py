"""Settings of cohort-sync."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from foundation.errors import ConfigurationError
from foundation.secrets import read_or_create_secret
from foundation.settings import MEBIBYTE, ServiceSettings


class CohortSyncSettings(ServiceSettings):
    cohort_sync_host: str = Field(default="127.0.0.1", description="address of Heap's webhook")
    cohort_sync_port: int = Field(default=8001, description="port of Heap's webhook")
    cohort_sync_admin_host: str = Field(
        default="127.0.0.1", description="address of the administration; keep it private"
    )
    cohort_sync_admin_port: int = Field(
        default=8002, description="port of the administration: admin API, `/readyz`, `/metrics`"
    )
    heap_webhook_secret: str | None = Field(
        default=None,
        description="secret that Heap signs with; several with commas between them are all accepted (rotation); "
        "unset: made once and kept in `DATA_DIR/webhook_secret`",
    )
    heap_timestamp_tolerance: int = Field(
        default=86400, ge=0, description="seconds that a push may be old; 60 s ahead are always accepted"
    )
    max_webhook_bytes: int = Field(default=64 * MEBIBYTE, ge=1024, description="larger bodies get 413")
    admin_token: str | None = Field(
        default=None,
        description="bearer token of the admin API; unset: made once and kept in `DATA_DIR/admin_token`",
    )
    stale_after: int = Field(
        default=93600, ge=1, description="seconds without a page after which a recurring list counts as stale"
    )

    def webhook_secrets(self) -> list[bytes]:
        """Every secret that a push may be signed with. Raises `ConfigurationError`."""
        if self.heap_webhook_secret is None:
            return [read_or_create_secret(self.data_dir / "webhook_secret").encode()]
        secrets = [secret.strip().encode() for secret in self.heap_webhook_secret.split(",") if secret.strip()]
        if not secrets:
            raise ConfigurationError("HEAP_WEBHOOK_SECRET: holds no secret; unset it to have one made")
        return secrets

    def administration_token(self) -> str:
        """The token that the admin API wants. Raises `ConfigurationError`."""
        return self.admin_token or read_or_create_secret(self.data_dir / "admin_token")

    @property
    def default_account(self) -> str:
        """The account of pushes without `id_token`. Raises `ConfigurationError` when nothing names one."""
        if self.account_id is not None:
            return self.account_id
        if self.settings_file is None:
            raise ConfigurationError("ACCOUNT_ID: set it to the number of your VWO account (or set SETTINGS_FILE)")
        try:
            served: Any = json.loads(self.settings_file.read_bytes())
            return str(served["accountId"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"SETTINGS_FILE: no accountId can be read from {self.settings_file} ({type(error).__name__}); "
                "mend the file or set ACCOUNT_ID"
            ) from error
