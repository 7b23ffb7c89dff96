"""The README's table of settings and `.env.example`, made from the settings classes.

`python -m local_stack.settings_table` renews both.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

from cohort_sync.settings import CohortSyncSettings
from foundation.settings import ServiceSettings
from gateway.settings import GatewaySettings
from heap_export.settings import HeapExportSettings

README = Path(__file__).resolve().parent.parent / "README.md"
EXAMPLE = README.with_name(".env.example")
SETTINGS: dict[str, type[ServiceSettings]] = {
    "gateway": GatewaySettings,
    "cohort-sync": CohortSyncSettings,
    "heap-export": HeapExportSettings,
}
_WIDTH = 118
_HEAD = """\
# Every setting, with its default. Copy this file to `.env`, and take the `#` away in front of what you change.
# Every service reads `.env` in the directory where it starts; what the environment says goes first.
"""
_BLOCK = re.compile(r"<!-- settings -->.*?(?:<!-- /settings -->|(?=\n## ))", re.DOTALL)


def settings_table() -> str:
    """One row a setting: those that all services share, then each service's own."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for fields in _groups().values():
        for name, field in fields.items():
            default = _default(field)
            rows.append(f"| `{name.upper()}` | {default and f'`{default}`'} | {field.description} |")
    return "\n".join(rows)


def env_example() -> str:
    """What `.env.example` says."""
    lines = [_HEAD]
    for title, fields in _groups().items():
        lines.append(f"# ---- {title}\n")
        for name, field in fields.items():
            lines += [f"# {line}" for line in textwrap.wrap(str(field.description).replace("`", ""), _WIDTH)]
            lines.append(f"#{name.upper()}={_default(field)}\n")
    return "\n".join(lines)


def _groups() -> dict[str, dict[str, Any]]:
    shared = ServiceSettings.model_fields
    groups: dict[str, dict[str, Any]] = {"all services": dict(shared)}
    for title, cls in SETTINGS.items():
        known = {name for fields in groups.values() for name in fields}
        groups[title] = {name: field for name, field in cls.model_fields.items() if name not in known}
    return groups


def _default(field: Any) -> str:
    default = field.get_default()
    if default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


if __name__ == "__main__":
    text = README.read_text()
    EXAMPLE.write_text(env_example())
    README.write_text(_BLOCK.sub(lambda _: f"<!-- settings -->\n{settings_table()}\n<!-- /settings -->", text))
