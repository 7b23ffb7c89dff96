"""Gateways to be compared: the program itself, and its application on plain uvicorn."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from tests.support.processes import ROOT, Program, gateway, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Both(NamedTuple):
    """Addresses."""

    ours: str
    plain: str


@contextlib.contextmanager
def both(directory: Path, store_url: str) -> Iterator[Both]:
    with gateway(directory, {"REDIS_URL": store_url}) as ours, plain_gateway(directory, store_url) as plain:
        yield Both(ours.address, plain.address)


@contextlib.contextmanager
def plain_gateway(directory: Path, store_url: str) -> Iterator[Program]:
    settings = {
        "PORT": "0",
        "REDIS_URL": store_url,
        "DATA_DIR": str(directory / "plain"),
        "SETTINGS_FILE": str(ROOT / "examples" / "settings.json"),
    }
    with running(["tests.support.plain_gateway"], settings, directory=directory) as program:
        yield program
