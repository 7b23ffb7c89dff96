"""Settings of heap-export."""

from __future__ import annotations

from pydantic import Field

from foundation.settings import MEBIBYTE, HttpAddress, ServiceSettings
from heap_export.integrations import AppId  # noqa: TC001 - pydantic reads the types of the fields
from heap_export.shapes import HEAP


class HeapExportSettings(ServiceSettings):
    heap_export_host: str = Field(default="127.0.0.1", description="address where events and exposures arrive")
    heap_export_port: int = Field(default=8003, ge=0, le=65535, description="port where events and exposures arrive")
    heap_export_admin_host: str = Field(
        default="127.0.0.1", description="address of heap-export's administration; keep it private"
    )
    heap_export_admin_port: int = Field(
        default=8004, ge=0, le=65535, description="port of heap-export's administration: API, `/readyz`, `/metrics`"
    )
    heap_app_id: AppId | None = Field(
        default=None, description="app id of the Heap environment that gets exposures; more are added by the API"
    )
    heap_api_base: HttpAddress = Field(
        default=HEAP, description="Heap's server-side API; for EU data residency https://c.eu.heap-api.com"
    )
    heap_api_timeout: float = Field(default=10.0, gt=0, le=60, description="seconds that Heap may take for an answer")
    deliver_here: bool = Field(default=True, description="`false`: this process takes records and delivers none")
    delivery_log_days: float = Field(default=14, gt=0, description="days that the delivery log reaches back")
    delivery_log_events: int = Field(
        default=200_000, ge=0, description="entries of the delivery log of an app id, at most; the oldest go first"
    )
    heap_events_waiting: int = Field(
        default=1_000_000, ge=1, description="records that may wait for an app id; further ones get 503"
    )
    heap_dead_events: int = Field(
        default=100_000, ge=1, description="records refused by Heap that are kept for an app id; the oldest go first"
    )
    events_api_key: str | None = Field(
        default=None,
        description="bearer keys of `/v1/events` and `/v1/exposures`, commas between them; unset: made once and kept "
        "in `DATA_DIR/events_api_key`",
    )
    events_hmac_secret: str | None = Field(
        default=None, description="where set, `/v1/events` wants `X-Signature: sha256=<hex HMAC of the body>` as well"
    )
    max_events_bytes: int = Field(
        default=4 * MEBIBYTE, ge=1024, description="larger bodies of events, exposures and webhooks get 413"
    )
    events_connections: int = Field(
        default=256,
        ge=1,
        description="connections to heap-export served at a time, and as many to its administration; further ones "
        "get 503",
    )
    events_seconds: float = Field(
        default=30, gt=0, description="seconds that a body may take to arrive, a third of it for its headers; then 408"
    )
    events_memory: int = Field(
        default=64 * MEBIBYTE,
        ge=MEBIBYTE,
        description="bytes that bodies of events may take while they arrive and are stored; "
        "what finds no room gets 503",
    )
    statsig_webhook_secret: str | None = Field(
        default=None, description="signing secrets of Statsig's webhook, commas between them; unset: it is not taken"
    )
    statsig_timestamp_tolerance: int = Field(
        default=86_400, ge=0, description="seconds that a Statsig webhook may be old; 60 s ahead are always accepted"
    )
    optimizely_agent_url: HttpAddress | None = Field(
        default=None, description="Optimizely Agent whose decisions are followed, such as http://127.0.0.1:8080"
    )
    optimizely_sdk_keys: str | None = Field(
        default=None, description="SDK keys to follow at the Agent, commas between them"
    )
