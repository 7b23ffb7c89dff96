"""Which account is connected to which Heap environment: the only place with Redis commands for connections.

Keys, in one slot: `cg:{connections}:by-account` (hash, account to the JSON of its latest record),
`published.connections.BY_ID_TOKEN` (hash, keyed hash of the id token to the account; made anew with each change),
`cg:{connections}:version` (text, another one with each change).
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cohort_sync.connection_records import ConnectionRecord, in_force, new_record_id, newer, record_from
from cohort_sync.sealing import UnsealError
from foundation.errors import ConflictError, ForbiddenError, NotFoundError, UnavailableError
from published.connections import BY_ID_TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cohort_sync.oauth import Authorization
    from cohort_sync.sealing import Sealer
    from foundation.store import Store

    Known = dict[str, ConnectionRecord]

log = logging.getLogger(__name__)

_VERSION = "cg:{connections}:version"
_BY_ACCOUNT = "cg:{connections}:by-account"

_ATTEMPTS = 50

# KEYS version, by account, by id token; ARGV expected version, new version, number of records, they (account, JSON),
# then the index (tag, account).
_WRITE = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
local last = 3 + 2 * tonumber(ARGV[3])
for i = 4, last, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('DEL', KEYS[3])
for i = last + 1, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
return 1
"""


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection as operators see it. `since` is Unix milliseconds; `usable`: sealed with this installation's key."""

    account: str
    env_id: str
    since: int
    partner_app_id: str
    authorized_by: str
    authorized_scope: str
    authorized_at: str
    usable: bool


class Connections:
    """The table of connections. Every method may raise the store's errors."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer
        self._seen = False

    async def connect(self, account: str, authorization: Authorization) -> dict[str, Any]:
        """Connect `account`, or renew the tokens of its environment; the record that was applied, for the journal.

        Raises `ConflictError` when the account has another environment, or the environment another account.
        """
        made: dict[str, Any] = {}

        def plan(known: Known) -> list[ConnectionRecord]:
            record = self._record(account, authorization, at=_after(known))
            _refuse_clashes(record, in_force(known))
            made.update(record.to_dict())
            return [record]

        await self._change(plan)
        return made

    async def disconnect(self, account: str) -> dict[str, Any]:
        """End the connection of `account` and forget its tokens; the record that was applied, for the journal.

        A second time gives the same record again, so that a caller whose journal failed can repeat the call.
        Raises `NotFoundError` when the account never was connected.
        """
        made: dict[str, Any] = {}

        def plan(known: Known) -> list[ConnectionRecord]:
            present = known.get(account)
            if present is None:
                raise NotFoundError(f"account {account} is not connected to Heap", reason="not_connected")
            record = self._disconnection(present, known) if present.connected else present
            made.update(record.to_dict())
            return [record]

        await self._change(plan)
        return made

    def connection_record(self, account: str, authorization: Authorization, *, at: int) -> dict[str, Any]:
        """The record of a connection made at `at` (Unix milliseconds), not applied; nothing in it is plain."""
        return self._record(account, authorization, at=at).to_dict()

    async def apply_record(self, record: dict[str, Any]) -> None:
        """Apply a record of `connect`, `disconnect` or `export` again. Raises `BadRequestError` for any other.

        Order and repetition don't matter: an account's latest record counts.
        """
        await self.restore([record])

    async def restore(self, records: Iterable[dict[str, Any]]) -> None:
        """Apply many records in one step: nobody sees a table that is half restored."""
        given = [record_from(record) for record in records]
        await self._change(lambda _: given)

    async def export(self) -> list[dict[str, Any]]:
        """Every record, those of disconnections too, sorted by account: what `restore` makes the same table of."""
        _, known = await self._read()
        return [record.to_dict() for _, record in sorted(known.items())]

    async def list(self) -> list[Connection]:
        """The connections, sorted by account, without anything secret."""
        _, known = await self._read()
        return [self._shown(record) for _, record in sorted(in_force(known).items())]

    async def access_token(self, account: str) -> str:
        """The token to call Heap with in the name of `account`. Raises `NotFoundError`, `UnavailableError`."""
        _, known = await self._read()
        record = in_force(known).get(account)
        if record is None:
            raise NotFoundError(f"account {account} is not connected to Heap", reason="not_connected")
        try:
            return self._sealer.unseal(record.sealed_token, purpose=_purpose(account))
        except UnsealError:
            raise _other_key([account]) from None

    async def account_of(self, id_token: str) -> str | None:
        """The account that Heap means by `id_token`; None when no connection has it."""
        tag = self._sealer.tag("id token", id_token)
        account: bytes | None = await self._store.execute_command("HGET", BY_ID_TOKEN, tag)
        return account.decode() if account else None

    async def account_of_push(self, id_token: str | None, *, default: str, complete: Callable[[], bool]) -> str:
        """The account that a push belongs to.

        `complete`: whether the table is known to hold every connection. Raises `ForbiddenError` for an unknown id
        token, and `UnavailableError` as long as it can't be known to be unknown: Heap must not give up on a push
        because the store was emptied a moment ago.
        """
        if id_token is None:
            return default
        account = await self.account_of(id_token)
        if account is not None:
            self._seen = True
            return account
        version, known = await self._read()
        if not complete() or (version == "" and self._seen):
            raise UnavailableError(
                "the connections are not all known yet; send this again later", reason="connections_incomplete"
            )
        strange = [account for account, record in in_force(known).items() if record.key_id != self._sealer.key_id]
        if strange:
            raise _other_key(strange)
        raise ForbiddenError("Invalid id_token", reason="unknown_id_token")

    async def _read(self) -> tuple[str, Known]:
        # The version first: if the table changes in between, the guard of a later write sees it.
        version: bytes | None = await self._store.execute_command("GET", _VERSION)
        table: dict[bytes, bytes] = await self._store.execute_command("HGETALL", _BY_ACCOUNT)
        self._seen = self._seen or version is not None
        known = {account.decode(): record_from(json.loads(text)) for account, text in table.items()}
        return version.decode() if version else "", known

    async def _change(self, plan: Callable[[Known], Iterable[ConnectionRecord]]) -> None:
        """Write what `plan` makes of the table, provided that nobody changed the table meanwhile; else plan anew."""
        for _ in range(_ATTEMPTS):
            version, known = await self._read()
            changed = newer(plan(known), known)
            if not changed:
                return
            arguments: list[Any] = [version, secrets.token_hex(8), len(changed)]
            for account, record in changed.items():
                arguments += [account, json.dumps(record.to_dict())]
            for account, record in in_force(known | changed).items():
                # A tag made with another key would never be asked for.
                arguments += [record.id_token_tag, account]
            keys = (_VERSION, _BY_ACCOUNT, BY_ID_TOKEN)
            if await self._store.execute_command("EVAL", _WRITE, len(keys), *keys, *arguments):
                self._seen = True
                return
        raise UnavailableError("the connections are changed by others all the time; try again", reason="busy")

    def _record(self, account: str, authorization: Authorization, *, at: int) -> ConnectionRecord:
        return ConnectionRecord(
            account=account,
            connected=True,
            at=at,
            id=new_record_id(),
            env_id=authorization.env_id,
            key_id=self._sealer.key_id,
            id_token_tag=self._sealer.tag("id token", authorization.id_token),
            sealed_token=self._sealer.seal(authorization.access_token, purpose=_purpose(account)),
            partner_app_id=authorization.partner_app_id,
            authorized_by=authorization.authorized_by,
            authorized_scope=authorization.authorized_scope,
            authorized_at=authorization.authorized_at,
        )

    def _disconnection(self, present: ConnectionRecord, known: Known) -> ConnectionRecord:
        return ConnectionRecord(
            account=present.account,
            connected=False,
            at=_after(known),
            id=new_record_id(),
            # A connection that another account's superseded has no say in its environment any more.
            env_id=present.env_id if present.account in in_force(known) else "",
            key_id=self._sealer.key_id,
        )

    def _shown(self, record: ConnectionRecord) -> Connection:
        return Connection(
            account=record.account,
            env_id=record.env_id,
            since=record.at,
            partner_app_id=record.partner_app_id,
            authorized_by=record.authorized_by,
            authorized_scope=record.authorized_scope,
            authorized_at=record.authorized_at,
            usable=record.key_id == self._sealer.key_id,
        )


def _refuse_clashes(record: ConnectionRecord, connected: Known) -> None:
    present = connected.get(record.account)
    if present is not None and present.env_id != record.env_id:
        raise ConflictError(
            f"account {record.account} is connected to the Heap environment {present.env_id}, and an account has one "
            f"environment; disconnect it first to connect {record.env_id}",
            reason="second_environment",
        )
    for account, other in connected.items():
        if account != record.account and (other.env_id == record.env_id or other.id_token_tag == record.id_token_tag):
            raise ConflictError(
                f"the Heap environment {record.env_id} belongs to account {account}; disconnect that account first to "
                f"connect it to account {record.account}",
                reason="environment_taken",
            )


def _after(known: Known) -> int:
    """Now, and later than every record: the clocks of two receivers may differ, and one may go back."""
    return max([int(time.time() * 1000), *(record.at + 1 for record in known.values())])


def _purpose(account: str) -> str:
    return f"access token of {account}"


def _other_key(accounts: Iterable[str]) -> UnavailableError:
    named = ", ".join(sorted(accounts))
    log.error("the connections of %s were sealed with another key than DATA_DIR/sealing_key", named)
    return UnavailableError(
        f"the connections of {named} were sealed with another key: put the installation's sealing_key back into "
        "DATA_DIR (every receiver needs the same), or connect them again",
        reason="other_sealing_key",
    )
