"""Read docker-compose.yml as Compose does: aliases and merges resolved, variables replaced."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(\w+):([-+])([^}]*)\}")


def variables() -> set[str]:
    """The names of the variables that Compose replaces."""
    return {name for name, _, _ in _VARIABLE.findall(FILE.read_text())}


def read_compose(settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file, with the defaults of its variables where `settings` names no value."""
    chosen = settings or {}

    def value(match: re.Match[str]) -> str:
        """`-`: the value, else the text; `+`: the text where there is a value, else nothing."""
        name, operator, text = match.groups()
        given = chosen.get(name)
        return (given or text) if operator == "-" else (text if given else "")

    text = _VARIABLE.sub(value, FILE.read_text())
    assert "${" not in text, "a variable without a default: a fresh clone could not start"
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def services(settings: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read_compose(settings)["services"]
    return found
