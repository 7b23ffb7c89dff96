"""The README's table of settings, made from the settings classes; `python -m local_stack.settings_table` renews it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cohort_sync.settings import CohortSyncSettings
from foundation.settings import ServiceSettings
from gateway.settings import GatewaySettings

README = Path(__file__).resolve().parent.parent / "README.md"
_BLOCK = re.compile(r"<!-- settings -->.*?(?:<!-- /settings -->|(?=\n## ))", re.DOTALL)


def settings_table() -> str:
    """One row a setting: those that the services share, then each service's own."""
    shared = ServiceSettings.model_fields
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    rows += [_row(name, field) for name, field in shared.items()]
    for cls in (GatewaySettings, CohortSyncSettings):
        rows += [_row(name, field) for name, field in cls.model_fields.items() if name not in shared]
    return "\n".join(rows)


def _row(name: str, field: Any) -> str:
    default = field.get_default()
    shown = "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
    return f"| `{name.upper()}` | {shown} | {field.description} |"


if __name__ == "__main__":
    text = README.read_text()
    README.write_text(_BLOCK.sub(lambda _: f"<!-- settings -->\n{settings_table()}\n<!-- /settings -->", text))
