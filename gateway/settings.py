"""Settings of the gateway."""

from __future__ import annotations

from pydantic import Field

from foundation.settings import ServiceSettings


class GatewaySettings(ServiceSettings):
    host: str = Field(default="127.0.0.1", description="address of the gateway; keep it private")
    port: int = Field(default=8000, ge=0, le=65535, description="port of the gateway; 0: any free one")
    workers: int = Field(
        default=1, ge=1, le=256, description="processes that serve `PORT` together, to use as many cores (Linux)"
    )
    connections: int = Field(
        default=8192, ge=1, description="connections that a gateway process serves; more are refused at once"
    )
    last_known_answers: int = Field(
        default=200_000, ge=0, description="answers remembered for the time when the store can't answer; 0: none"
    )
    serve_stale_for: float = Field(
        default=3600, ge=0, description="seconds for which remembered answers are given while the store can't answer"
    )
    log_checks: int = Field(default=0, ge=0, description="log one check in so many, without its value; 0: none")
