"""The `state` of OAuth: proof that an answer belongs to a connection that an operator started here.

A state is 256 random bits, serves once, for ten minutes, for the account and the admin token it was made for. The store
holds its hash alone, so a dump of the store can't be used to answer in somebody's place.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foundation.store import Store

LIFETIME_SECONDS = 600

_FORM = re.compile(r"[A-Za-z0-9_-]{43}")


class OAuthStates:
    """Every method may raise the store's errors. `admin` is a tag of the admin token, never the token."""

    def __init__(self, store: Store, *, lifetime: int = LIFETIME_SECONDS) -> None:
        self._store = store
        self._lifetime = lifetime

    async def start(self, account: str, *, admin: str) -> str:
        state = secrets.token_urlsafe(32)
        value = json.dumps({"account": account, "admin": admin})
        await self._store.execute_command("SET", _key(state), value, "EX", self._lifetime)
        return state

    async def spend(self, state: str, *, admin: str) -> str | None:
        """The account that `state` was made for, once; None when it is unknown, spent, expired or another admin's."""
        if _FORM.fullmatch(state) is None:
            return None
        value: bytes | None = await self._store.execute_command("GETDEL", _key(state))
        if value is None:
            return None
        started: dict[str, str] = json.loads(value)
        return started["account"] if hmac.compare_digest(started["admin"], admin) else None


def _key(state: str) -> str:
    # The value is random, so a plain hash can't be guessed back.
    return f"cg:{{connections}}:state:{hashlib.sha256(state.encode()).hexdigest()}"
