"""Settings of cohort-sync."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from foundation.errors import ConfigurationError
from foundation.json import EncodingError, utf8
from foundation.secrets import read_or_create_secret
from foundation.settings import MEBIBYTE, ServiceSettings


def _web_address(value: str) -> str:
    """`value` without a slash at its end, so that a path can follow."""
    try:
        parts = urlsplit(value)
        fit = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        fit = False
    if not fit or "@" in value or any(char in value for char in "?# \\") or not value.isprintable():
        raise ValueError("must be an address such as https://example.com, without user, query or fragment")
    return value.rstrip("/")


WebAddress = Annotated[str, AfterValidator(_web_address)]


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
    webhook_memory: int = Field(
        default=256 * MEBIBYTE,
        ge=MEBIBYTE,
        description="bytes that pushes may take while they arrive and are applied; what finds no room gets 503",
    )
    webhook_connections: int = Field(
        default=256,
        ge=1,
        description="connections to Heap's webhook served at a time, and as many to the administration; further ones "
        "get 503",
    )
    webhook_seconds: float = Field(
        default=60,
        gt=0,
        description="seconds that a push, or a call of the administration, may take to arrive, a sixth of it for its "
        "headers; then 408",
    )
    webhook_answer_seconds: float = Field(
        default=30,
        gt=0,
        description="seconds after which a push that is still being applied is answered 503; it goes on",
    )
    heap_base: WebAddress = Field(
        default="https://heapanalytics.com", description="Heap's own address, for connecting accounts"
    )
    heap_client_id: str | None = Field(default=None, description="client id that Heap gave your integration")
    heap_client_secret: str | None = Field(
        default=None, description="client secret that Heap gave your integration (not the webhook secret)"
    )
    public_url: WebAddress | None = Field(
        default=None,
        description="address under which the internet reaches the webhook's port, such as "
        "`https://cohorts.example.com`; Heap sends browsers back to `/connect/heap/callback` there",
    )
    write_side: Literal["journal", "database"] = Field(
        default="journal",
        description="`database`: what was accepted is kept in a database in `DATA_DIR`, and lists are made from that "
        "(docs/database.md)",
    )
    data_dir_any_filesystem: bool = Field(
        default=False, description="`true`: the database may be on a network file system, where it can lose pushes"
    )
    journal: bool = Field(
        default=True, description="`off`: no journal, for disks that don't last; then the store must be durable"
    )
    journal_days: int = Field(default=14, ge=1, description="days that the receiver's journal reaches back")
    snapshot_max_shrink: float = Field(
        default=0.5, ge=0, le=1, description="a snapshot that would take more than this share of a list waits for you"
    )
    auto_activate: bool = Field(
        default=True, description="`false`: a new segment's list answers only after an operator activates it"
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

    @property
    def default_account(self) -> str:
        """The account of pushes without `id_token`. Raises `ConfigurationError` when nothing names one."""
        if self.account_id is not None:
            return self.account_id
        if self.settings_file is None:
            raise ConfigurationError("ACCOUNT_ID: set it to the number of your VWO account (or set SETTINGS_FILE)")
        try:
            served: Any = json.loads(utf8(self.settings_file.read_bytes()))
            return str(served["accountId"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = error if isinstance(error, EncodingError) else type(error).__name__
            raise ConfigurationError(
                f"SETTINGS_FILE: no accountId can be read from {self.settings_file} ({why}); "
                "mend the file or set ACCOUNT_ID"
            ) from error
