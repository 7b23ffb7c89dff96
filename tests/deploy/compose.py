"""Read docker-compose.yml as Compose does: aliases and merges resolved, variables replaced."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def variables() -> set[str]:
    """The names of the variables that Compose replaces."""
    return {name for name, _ in _VARIABLE.findall(FILE.read_text())}


def read_compose(settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file, with the defaults of its variables where `settings` names no value."""
    chosen = settings or {}
    text = _VARIABLE.sub(lambda match: chosen.get(match[1]) or match[2], FILE.read_text())
    assert "${" not in text, "a variable without a default: a fresh clone could not start"
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def services(settings: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read_compose(settings)["services"]
    return found
