"""Answers for browsers, whose pages come from other sites."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastapi.middleware.cors import CORSMiddleware

from foundation.errors import ConfigurationError

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger(__name__)

# What SDKs send from browsers, and OpenFeature's provider.
_SENT = ["X-Device-User-Agent", "VWO-X-Forwarded-For", "Authorization", "X-API-Key", "If-None-Match", "Content-Type"]
_READ = ["X-Membership", "ETag", "Retry-After"]


def allow_browsers(app: FastAPI, origins: str) -> None:
    """Let the pages of `origins` (commas between them; `*`: of all sites) ask. Raises `ConfigurationError`."""
    allowed = [origin.strip() for origin in origins.split(",") if origin.strip()]
    for origin in allowed:
        if origin != "*" and (not origin.startswith(("http://", "https://")) or origin.count("/") != 2):  # noqa: PLR2004 - those of ://
            raise ConfigurationError(
                "CORS_ORIGINS: give sites such as https://www.example.com, without a path, commas between them; or *"
            )
    app.add_middleware(
        CORSMiddleware,
        allow_origins=allowed,
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=_SENT,
        expose_headers=_READ,
    )


def warn_of_browsers(origins: str) -> None:
    log.warning(
        "CORS_CONFIG_REQUIRED: pages of %s may ask here, and so may everybody else who reaches this gateway: whether a "
        "value is in a list, and what flags there are",
        "any site" if origins == "*" else origins,
    )
