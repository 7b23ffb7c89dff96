"""Which flags of an account refer to which list, by the settings that its gateways serve."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from foundation.store import Store

KEPT_SECONDS = 86_400  # since a gateway said so last; gateways say it every hour


class Reference(NamedTuple):
    """A place in the settings that refers to a list, by the name that it uses: the list's id or an alias."""

    name: str
    flag: str
    rule: str
    variable: str


class _Said(msgspec.Struct, array_like=True):
    at: float
    references: list[Reference]


_decode = msgspec.json.Decoder(_Said).decode


def key_of(account: str) -> str:
    """Hash: environment -> when its gateway said so, and its references, JSON.

    It does not begin like the keys of lists, whose every change is told.
    """
    return f"cg:references:{{{account}}}"


class References:
    """Every call may raise the store's errors."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def publish(self, account: str, environment: str, found: Iterable[Reference]) -> None:
        """These are all there are in the settings of `environment` (any word that stands for it) now."""
        key = key_of(account)
        outdated = [name for name, said in (await self._all(account)).items() if _is_outdated(said)]
        await self._store.execute_command("HSET", key, environment, msgspec.json.encode(_Said(time.time(), [*found])))
        await self._store.execute_command("EXPIRE", key, KEPT_SECONDS)
        if outdated:
            await self._store.execute_command("HDEL", key, *outdated)

    async def has(self, account: str, environment: str) -> bool:
        """Whether anything is published of `environment`: nothing is in a store that was emptied."""
        return bool(await self._store.execute_command("HEXISTS", key_of(account), environment))

    async def of_account(self, account: str) -> list[Reference]:
        """Those of all its environments, each once."""
        said = (await self._all(account)).values()
        return list(dict.fromkeys(one for some in said if not _is_outdated(some) for one in some.references))

    async def _all(self, account: str) -> dict[bytes, _Said]:
        rows: dict[bytes, bytes] = await self._store.execute_command("HGETALL", key_of(account))
        return {name: _decode(body) for name, body in rows.items()}


def _is_outdated(said: _Said) -> bool:
    return said.at < time.time() - KEPT_SECONDS
