"""Commands packed by hiredis, in redis-py's asyncio connections too.

redis-py 8.1 packs in C for its synchronous connections alone. A page of 10,000 members costs the asyncio ones 20 ms in
Python, ten times what hiredis takes, and that is most of what a receiver spends on a page.
"""

from __future__ import annotations

from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection

_in_python = AbstractConnection.pack_command


def use_hiredis() -> None:
    """Every asyncio connection of this process packs by hiredis from now on. Calling it again changes nothing."""
    AbstractConnection.pack_command = _pack  # type: ignore[method-assign,assignment] # no setting for it


def _pack(connection: AbstractConnection, *arguments: Any) -> list[bytes]:
    name = arguments[0]
    if not isinstance(name, str) or " " in name:  # such as "CONFIG GET", which redis-py takes apart
        return _in_python(connection, *arguments)
    try:
        return [hiredis.pack_command(arguments)]
    except TypeError:  # a kind that redis-py encodes, or refuses in its own words
        return _in_python(connection, *arguments)
