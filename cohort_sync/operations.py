"""What operators do to lists: each change is a record of the journal, applied, and told in the audit stream."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from attribute_lists.describe import describe_list, describe_lists
from attribute_lists.settling import tag_of
from cohort_sync import audit
from cohort_sync.records import Action, OperationRecord
from foundation.errors import BadRequestError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attribute_lists.changes import Outcome
    from attribute_lists.describe import ListDescription
    from cohort_sync.receiver import Receiver


RUN_TOO = ["cohort-gateway erase", "heap-export erase"]  # where other services keep something of a person


class Operations:
    """Lists as operators see and change them; `actor` is who does. Methods raise what applying raises."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    @property
    def lost(self) -> Sequence[str]:
        return self._receiver.recovery.lost

    async def describe_all(self) -> Sequence[ListDescription]:
        return await describe_lists(self._receiver.store, stale_after=self._receiver.settings.stale_after)

    async def describe(self, name: tuple[str, str]) -> ListDescription:
        return await describe_list(self._receiver.store, name, stale_after=self._receiver.settings.stale_after)

    async def resolve(self, account: str, name: str) -> tuple[str, str]:
        return account, await self._receiver.definitions.resolve(account, name)

    async def newest_changes(self, count: int) -> list[dict[str, str]]:
        return await audit.newest(self._receiver.store, count)

    async def set_active(self, name: tuple[str, str], active: bool, *, actor: str) -> None:
        await self._do("activate", name, {"active": active}, actor)

    async def set_aliases(self, name: tuple[str, str], aliases: list[str], *, actor: str) -> None:
        # Checked before it is journalled: what another list owns must not come back as a record.
        await self._receiver.definitions.check_aliases(*name, aliases)
        await self._do("aliases", name, {"aliases": aliases}, actor)

    async def set_mode(self, name: tuple[str, str], mode: str, *, actor: str) -> None:
        await self._do("mode", name, {"mode": mode}, actor)

    async def accept(self, name: tuple[str, str], *, actor: str) -> None:
        """Let a held snapshot go live. Raises `NotFoundError` when none waits."""
        if not (await self._do("accept", name, {}, actor)).added:
            raise NotFoundError(f"no snapshot of {name[1]} waits for an operator", reason="nothing_held")

    async def drain(self, name: tuple[str, str], *, actor: str) -> int:
        """Empty the list, as of now or of the newest timestamp seen, whichever is later; how many members left."""
        newest = await self._receiver.changes.newest_timestamp(name)
        at = max(int(time.time() * 1000), newest + 1)
        return (await self._do("drain", name, {"at": at}, actor)).removed

    async def delete(self, name: tuple[str, str], *, actor: str) -> None:
        newest = await self._receiver.changes.newest_timestamp(name)
        await self._do("delete", name, {"at": max(int(time.time() * 1000), newest + 1)}, actor)

    async def erase(self, member: str, *, actor: str) -> dict[str, Any]:
        """Take a person out of lists, kept pages, journal and checkpoints. The receipt says what was done.

        It also names the commands (`run_too`) that do it for what other services keep.

        Tasks that Heap started before now never bring the person back; a later one may.
        """
        receiver = self._receiver
        raw = member.encode("utf-8", "surrogatepass")
        if not raw:
            raise BadRequestError("id: the person's id as Heap sends it, not empty", reason="bad_shape")
        record = self._record("erase", ("", ""), {"tag": tag_of(raw, receiver.tag_key).decode()}, actor)
        outcome = await receiver.keep(record, member=raw)
        receipt = await receiver.erasures.finish(record)
        return {"erasure": record.mark, "at": record.at, "lists": outcome.removed} | receipt | {"run_too": RUN_TOO}

    async def _do(self, action: Action, name: tuple[str, str], details: dict[str, Any], actor: str) -> Outcome:
        return await self._receiver.keep(self._record(action, name, details, actor))

    def _record(self, action: Action, name: tuple[str, str], details: dict[str, Any], actor: str) -> OperationRecord:
        return OperationRecord(
            mark=f"op:{uuid.uuid4()}",
            at=int(time.time() * 1000),
            actor=actor,
            action=action,
            account=name[0],
            list_id=name[1],
            details=details,
        )
