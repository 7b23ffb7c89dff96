"""The gateway with a name service that a test can take away: a JSON file of names, `NAMES_FILE`.

Run as a program in place of `gateway`. A name that ends in `.test` resolves to what the file says; without an entry,
or without the file, it resolves to nothing, with the error that the system's resolver gives.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any

from gateway.cli import main

_NAMES = Path(os.environ["NAMES_FILE"])
_open_connection = asyncio.open_connection


def _look_up(host: str) -> str:
    names: dict[str, str] = json.loads(_NAMES.read_text()) if _NAMES.exists() else {}
    if host not in names:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return names[host]


async def _open_by_name(host: str | None = None, *args: Any, **options: Any) -> Any:
    if host is not None and host.endswith(".test"):
        host = _look_up(host)
    return await _open_connection(host, *args, **options)


if __name__ == "__main__":
    asyncio.open_connection = _open_by_name
    main()
