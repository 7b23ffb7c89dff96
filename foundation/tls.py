"""One TLS context for all connections to the store with the same settings.

redis-py 8.1 makes one for each connection, and reads the system's authorities for it: some 20 ms in which nothing else
happens, thirty times in a row when a gateway's connections move to another server.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import RedisSSLContext

if TYPE_CHECKING:
    import ssl

_MOST_KEPT = 8  # one for each set of settings; certificates that were renewed count as another

_make = RedisSSLContext.get
_made: dict[tuple[Any, ...], ssl.SSLContext] = {}


def share_contexts() -> None:
    """Every asyncio connection of this process shares from now on. Calling it again changes nothing."""
    RedisSSLContext.get = _get  # type: ignore[method-assign,assignment] # no setting for it


def _get(settings: RedisSSLContext) -> ssl.SSLContext:
    wanted = [str(getattr(settings, name)) for name in RedisSSLContext.__slots__ if name != "context"]
    key = (*wanted, *(_version(path) for path in (settings.ca_certs, settings.certfile, settings.keyfile)))
    if key not in _made:
        while len(_made) >= _MOST_KEPT:
            del _made[next(iter(_made))]
        settings.context = None
        _made[key] = _make(settings)
    return _made[key]


def _version(path: str | None) -> int:
    """Certificates are renewed while programs run: a file that changed is read again."""
    return 0 if path is None else Path(path).stat().st_mtime_ns
