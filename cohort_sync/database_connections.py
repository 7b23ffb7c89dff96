"""Connections to Heap as the database keeps them, and what gateways see of them in the store."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from cohort_sync.connections import Connection
from foundation.errors import ForbiddenError
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from published.connections import BY_ID_TOKEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cohort_sync.oauth import Authorization
    from cohort_sync.truth.facts import Facts
    from foundation.store import Store

log = logging.getLogger(__name__)

_ACTOR = "connection"


class DatabaseConnections:
    """The table of connections. Methods raise what `Facts` raises; the store may be away.

    `is_ours`: whether the store is this installation's, and not one whose accounts another has connected.
    """

    def __init__(self, facts: Facts, store: Store, *, is_ours: Callable[[], Awaitable[bool]]) -> None:
        self._facts = facts
        self._store = store
        self._is_ours = is_ours

    async def connect(self, account: str, authorization: Authorization) -> dict[str, Any]:
        """Connect `account`. Raises `ConflictError` when the account has another environment, or this another one."""
        detail = {
            "partner_app_id": authorization.partner_app_id,
            "authorized_by": authorization.authorized_by,
            "authorized_scope": authorization.authorized_scope,
            "authorized_at": authorization.authorized_at,
        }
        env_id = authorization.env_id
        await self._facts.connect(account, env_id=env_id, id_token=authorization.id_token, detail=detail, actor=_ACTOR)
        await self.show()
        return {"account": account, "env_id": env_id}

    async def disconnect(self, account: str) -> dict[str, Any]:
        """Raises `NotFoundError` when the account is not connected."""
        ended = await self._facts.disconnect(account, actor=_ACTOR)
        await self.show()
        return {"account": account, "env_id": ended.env_id}

    async def list(self) -> list[Connection]:
        return [
            Connection(
                account=found.account,
                env_id=found.env_id,
                since=found.connected_at,
                usable=True,
                **{name: str(value) for name, value in found.detail.items()},
            )
            for found in await self._facts.connections()
        ]

    def account_of_push(self, id_token: str | None, *, default: str) -> str:
        """The account that a push belongs to. Raises `ForbiddenError` for an unknown id token."""
        account = default if id_token is None else self._facts.account_of(id_token)
        if account is None:
            raise ForbiddenError("Invalid id_token", reason="unknown_id_token")
        return account

    async def show(self) -> None:
        """Let gateways see which accounts are connected.

        While the store is away, or another installation's, `show` has to be called again.
        """
        wanted: dict[Any, Any] = {found.id_token_tag.hex(): found.account for found in await self._facts.connections()}
        try:
            if not await self._is_ours():
                return
            shown: dict[bytes, bytes] = await self._store.execute_command("HGETALL", BY_ID_TOKEN)
            if {tag.decode(): account.decode() for tag, account in shown.items()} == wanted:
                return
            pipeline = self._store.pipeline(transaction=True)
            pipeline.delete(BY_ID_TOKEN)
            if wanted:
                pipeline.hset(BY_ID_TOKEN, mapping=wanted)
            await pipeline.execute()
        except STORE_ERRORS as error:
            log.warning("gateways can't be shown the connections: %s; trying again", explain(error))
