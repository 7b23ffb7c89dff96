"""Settings of the gateway."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the types of the fields

from pydantic import Field

from foundation.settings import MEBIBYTE, HttpAddress, ServiceSettings


class GatewaySettings(ServiceSettings):
    host: str = Field(default="127.0.0.1", description="address of the gateway; keep it private")
    port: int = Field(default=8000, ge=0, le=65535, description="port of the gateway; 0: any free one")
    workers: int = Field(
        default=1, ge=1, le=256, description="processes that serve `PORT` together, to use as many cores (Linux)"
    )
    connections: int = Field(
        default=8192, ge=1, description="connections that a gateway process serves; more are refused at once"
    )
    body_seconds: float = Field(
        default=30,
        gt=0,
        description="seconds that the body of a request may take to arrive; then 408, and events are dropped",
    )
    body_memory: int = Field(
        default=128 * MEBIBYTE,
        ge=MEBIBYTE,
        description="bytes that bodies may take in a gateway process while they arrive and are worked on; what finds "
        "no room gets 503, and events are dropped",
    )
    last_known_answers: int = Field(
        default=200_000, ge=0, description="answers remembered for the time when the store can't answer; 0: none"
    )
    serve_stale_for: float = Field(
        default=3600, ge=0, description="seconds for which remembered answers are given while the store can't answer"
    )
    sdk_key: str | None = Field(
        default=None, description="SDK key of an environment of `ACCOUNT_ID`, whose flag settings are polled from VWO"
    )
    accounts_file: Path | None = Field(
        default=None, description="JSON file with more accounts and SDK keys to serve; docs/migrating.md has its shape"
    )
    polling_time: int = Field(
        default=60_000, ge=1000, le=86_400_000, description="milliseconds between two looks at VWO's flag settings"
    )
    vwo_base_url: HttpAddress = Field(
        default="https://dev.visualwebsiteoptimizer.com", description="VWO's own address, or that of a proxy to it"
    )
    socket_timeout: float = Field(
        default=5.0, gt=0, le=300, description="seconds that VWO may be silent while we fetch settings or send events"
    )
    geoip_database: Path | None = Field(
        default=None, description="GeoLite2-City.mmdb or another of MaxMind's format, where addresses are looked up"
    )
    maxmind_user_id: str | None = Field(
        default=None, description="account id at MaxMind, to have the database fetched into `DATA_DIR` and kept new"
    )
    maxmind_license_key: str | None = Field(default=None, description="license key that goes with `MAXMIND_USER_ID`")
    maxmind_edition: str = Field(
        default="GeoLite2-City", pattern=r"^[A-Za-z0-9-]+$", description="which database is fetched from MaxMind"
    )
    maxmind_base_url: HttpAddress = Field(
        default="https://download.maxmind.com", description="MaxMind's own address, or that of a mirror"
    )
    trusted_proxies: int = Field(
        default=0,
        ge=0,
        le=16,
        description="proxies in front that add to `X-Forwarded-For`; the visitor's address is taken from there where a "
        "request for user details names none; 0: never",
    )
    cors_config_required: bool = Field(
        default=False,
        description="`true`: browsers may ask from pages of other sites; everybody who can reach the "
        "gateway can then ask who is in a list",
    )
    cors_origins: str = Field(
        default="*", description="sites whose pages may ask, commas between them, such as `https://www.example.com`"
    )
    decision_required: bool = Field(
        default=True, description="`false`: the gateway decides no flags for SDKs (`/server-side/getFlag` and its like)"
    )
    aliases_remembered: int = Field(
        default=1_000_000, ge=0, description="aliases of users kept in the store; the oldest make room"
    )
    forward_events: bool | None = Field(
        default=None,
        description="`false`: events of SDKs are counted and not forwarded to VWO; unset: forwarded unless "
        "`SETTINGS_FILE` is served",
    )
    forward_here: bool = Field(
        default=True, description="`false`: this gateway stores events and leaves it to others to forward them"
    )
    events_per_request: int = Field(default=500, ge=1, le=5000, description="events that go to VWO in one request")
    max_events_per_request: int = Field(
        default=5000, ge=1, le=5000, description="upper bound of `EVENTS_PER_REQUEST`, whatever that says"
    )
    flush_events_interval: float = Field(
        default=2.0, ge=0.05, le=3600, description="seconds after which events go to VWO though they are fewer"
    )
    events_waiting: int = Field(
        default=500_000, ge=1, description="events that may wait in the store for VWO; further ones are dropped"
    )
    dead_events: int = Field(
        default=100_000, ge=1, description="events refused by VWO that are kept; the oldest ones are dropped"
    )
    ofrep_api_keys: str | None = Field(
        default=None,
        description="API keys that OpenFeature applications must send, commas between them; `KEY:SDK_KEY` names the "
        "environment that a key asks about; unset: none is needed",
    )
    ofrep_bulk_exposures: bool = Field(
        default=False, description="`true`: a bulk evaluation of OpenFeature sends exposures, as a single one does"
    )
    export_exposures: bool | None = Field(
        default=None,
        description="`true`: exposures are also kept in the store for heap-export, as many as `EVENTS_WAITING` says; "
        "unset: where `HEAP_APP_ID` is set",
    )
    visitors_remembered: int = Field(
        default=1_000_000,
        ge=0,
        description="users of each account whose visitor id is remembered in the store; 0: none",
    )
    log_checks: int = Field(default=0, ge=0, description="log one check in so many, without its value; 0: none")

    @property
    def names_settings(self) -> bool:
        """Whether anything says which flag settings to serve."""
        return any(source is not None for source in (self.settings_file, self.sdk_key, self.accounts_file))

    @property
    def exports_exposures(self) -> bool:
        return self.heap_app_id is not None if self.export_exposures is None else self.export_exposures

    @property
    def forwards_events(self) -> bool:
        """Who serves a file has perhaps nothing to do with VWO."""
        return self.settings_file is None if self.forward_events is None else self.forward_events
