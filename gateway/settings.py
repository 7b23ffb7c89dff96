"""Settings of the gateway."""

from __future__ import annotations

from pydantic import Field

from foundation.settings import ServiceSettings


class GatewaySettings(ServiceSettings):
    host: str = Field(default="127.0.0.1", description="address of the gateway; keep it private")
    port: int = Field(default=8000, ge=0, le=65535, description="port of the gateway; 0: any free one")
