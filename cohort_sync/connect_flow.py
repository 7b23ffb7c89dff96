"""Connecting an account to Heap: an operator starts, a browser goes to Heap and comes back, the connection is kept.

Why no cookie ties the browser that comes back to the one that started: the administration is private and an origin of
its own, and an operator may start on a server's command line and authorize in a browser elsewhere. What ties the two
is the state: unguessable, given to the holder of the admin token alone, valid once, for ten minutes, for the account it
was made for, and only as long as that admin token is the configured one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from cohort_sync.oauth import TIMEOUT_SECONDS, HeapFailedError, HeapOAuth
from foundation.errors import BadRequestError, CohortGatewayError, ForbiddenError, UnavailableError
from foundation.store import STORE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cohort_sync.connections import Connection
    from cohort_sync.oauth import Authorization
    from cohort_sync.oauth_states import OAuthStates
    from cohort_sync.sealing import Sealer
    from cohort_sync.settings import CohortSyncSettings

log = logging.getLogger(__name__)

_LONGEST_CODE = 4096


class ConnectionTable(Protocol):
    """Where connections are kept; `connect` and `disconnect` give a record that has `env_id`."""

    async def connect(self, account: str, authorization: Authorization) -> dict[str, Any]: ...

    async def disconnect(self, account: str) -> dict[str, Any]: ...

    async def list(self) -> list[Connection]: ...


async def _keep_nowhere(_: dict[str, Any]) -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFlow:
    """What the routes need.

    `complete`: whether the table of connections is known to hold every connection; while it is not, none is made, since
    it could clash with one that is about to come back. `keep`: called with the record of each change after it was
    applied and before it is acknowledged (the journal); what it raises goes to the caller, who can repeat the change.
    """

    settings: CohortSyncSettings
    connections: ConnectionTable
    states: OAuthStates
    sealer: Sealer
    admin_token: str
    complete: Callable[[], bool]
    keep: Callable[[dict[str, Any]], Awaitable[None]] = _keep_nowhere
    timeout: float = field(default=TIMEOUT_SECONDS)

    async def start(self, account: str) -> str:
        """Where to send the browser. Raises `UnavailableError` when the connection is not set up."""
        heap = self._heap()
        return heap.authorize_url(await self.states.start(account, admin=self._admin()))

    async def finish(self, *, state: str, code: str, error: str) -> tuple[str, str]:
        """The account that is connected now, and its environment. `error`: what Heap says instead of a code.

        Raises errors whose texts are fit for the page; once the state is spent they say that it takes a new start.
        """
        heap = self._heap()
        if not self.complete():
            raise UnavailableError(
                "the connections are being restored; reload this page in a moment", reason="connections_incomplete"
            )
        try:
            account = await self.states.spend(state, admin=self._admin())
        except STORE_ERRORS:
            raise UnavailableError("the store is away; reload this page in a moment", reason="store_away") from None
        if account is None:
            raise BadRequestError(
                "this link is unknown, was used already, or is older than ten minutes; start again", reason="bad_state"
            )
        _refuse_error(error)
        if not 0 < len(code) <= _LONGEST_CODE:
            raise BadRequestError("Heap sent no usable code; start again", reason="bad_code")
        authorization = await heap.authorization(code)
        await self._connect(account, authorization)
        return account, authorization.env_id

    async def disconnect(self, account: str) -> str:
        """The environment that `account` was connected to. Raises `NotFoundError`."""
        record = await self.connections.disconnect(account)
        await self.keep(record)
        log.info("account %s: disconnected from Heap environment %r", account, record["env_id"])
        env_id: str = record["env_id"]
        return env_id

    async def _connect(self, account: str, authorization: Authorization) -> None:
        try:
            record = await self.connections.connect(account, authorization)
            await self.keep(record)
        except STORE_ERRORS:
            raise UnavailableError("the store is away; start again in a moment", reason="store_away") from None
        log.info("account %s: connected to Heap environment %r", account, authorization.env_id)

    def _heap(self) -> HeapOAuth:
        return HeapOAuth.from_settings(self.settings, timeout=self.timeout)

    def _admin(self) -> str:
        return self.sealer.tag("admin token", self.admin_token)


def _refuse_error(error: str) -> None:
    # What came is not repeated: anybody can put anything into that address.
    if error == "access_denied":
        raise ForbiddenError("access was denied on Heap's page; nothing was changed", reason="access_denied")
    if error:
        raise HeapFailedError("Heap reported an error instead of granting access; start again", reason="heap_error")


def log_refusal(error: CohortGatewayError) -> None:
    log.warning("a connection to Heap was not made: %s (%s)", error, error.reason)
