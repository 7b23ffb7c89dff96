"""The admin API's routes: lists, people, the audit stream. Whoever mounts them asks for the token."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field

from attribute_lists.members import is_member, member_page
from attribute_lists.names import checked_account
from cohort_sync.references import flags_using

if TYPE_CHECKING:
    from cohort_sync.write_side import WriteSide

_UNPRINTABLE = re.compile(r"[^\w.@ -]")

Operator = Annotated[str, Header(alias="X-Operator", max_length=100, description="who you are, for the audit stream")]


class ListChange(BaseModel):
    """What an operator may set on a list; a field that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["delta", "snapshot"] | None = None
    aliases: list[str] | None = Field(default=None, max_length=100)
    active: bool | None = None


class Person(BaseModel):
    """A person's id, as Heap sends it. In a body, never in an address, which would end up in logs."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=1024)


class Check(Person):
    list: str
    account: str | None = None


class Admin:
    """What the routes share."""

    def __init__(self, receiver: WriteSide) -> None:
        self.receiver = receiver
        self.lists = receiver.administration

    async def resolved(self, account: str, name: str) -> tuple[str, str]:
        return await self.lists.resolve(checked_account(account), name)

    async def described(self, name: tuple[str, str]) -> dict[str, Any]:
        """With the flags that use it."""
        found = await self.lists.describe(name)
        flags = await flags_using(self.receiver.store, found.account, {found.list_id, *found.aliases})
        return {**asdict(found), "flags": flags}


def reading_router(admin: Admin) -> APIRouter:
    """What looks and changes nothing."""
    router = APIRouter(prefix="/admin/api/v1")
    receiver = admin.receiver

    @router.get("/lists")
    async def get_lists() -> dict[str, Any]:
        return {"lists": [asdict(found) for found in await admin.lists.describe_all()], "lost": admin.lists.lost}

    @router.get("/installation")
    async def get_installation() -> dict[str, str]:
        return {"default_account": receiver.default_account}

    @router.get("/lists/{account}/{name}")
    async def get_list(account: str, name: str) -> dict[str, Any]:
        return await admin.described(await admin.resolved(account, name))

    @router.get("/lists/{account}/{name}/members")
    async def get_members(
        account: str, name: str, cursor: Annotated[int, Query(ge=0, lt=1 << 64)] = 0
    ) -> dict[str, Any]:
        """Some hundred members and the cursor of the next ones; 0 when these were the last. Some may come twice."""
        after, members = await member_page(receiver.store, await admin.resolved(account, name), cursor)
        return {"members": members, "cursor": after}

    @router.post("/check")
    async def check(question: Check) -> dict[str, bool]:
        name = await admin.resolved(question.account or receiver.default_account, question.list)
        return {"member": await is_member(receiver.store, name, question.id)}

    @router.get("/audit")
    async def get_audit(count: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        return {"changes": await admin.lists.newest_changes(count)}

    return router


def changing_router(admin: Admin) -> APIRouter:
    """What changes lists; each change is journalled and audited."""
    router = APIRouter(prefix="/admin/api/v1")
    operations = admin.lists

    @router.patch("/lists/{account}/{name}")
    async def change_list(account: str, name: str, change: ListChange, operator: Operator = "api") -> dict[str, Any]:
        found, actor = await admin.resolved(account, name), _actor(operator)
        if change.aliases is not None:
            await operations.set_aliases(found, change.aliases, actor=actor)
        if change.mode is not None:
            await operations.set_mode(found, change.mode, actor=actor)
        if change.active is not None:
            await operations.set_active(found, change.active, actor=actor)
        return await admin.described(found)

    @router.delete("/lists/{account}/{name}")
    async def delete_list(account: str, name: str, operator: Operator = "api") -> dict[str, Any]:
        """`flags` are those that use it still: they find nobody in it from now on."""
        found = await admin.resolved(account, name)
        flags = (await admin.described(found))["flags"]
        await operations.delete(found, actor=_actor(operator))
        return {"deleted": found[1], "flags": flags}

    @router.post("/lists/{account}/{name}/drain")
    async def drain_list(account: str, name: str, operator: Operator = "api") -> dict[str, Any]:
        found = await admin.resolved(account, name)
        return {"drained": found[1], "removed": await operations.drain(found, actor=_actor(operator))}

    @router.post("/lists/{account}/{name}/accept")
    async def accept_snapshot(account: str, name: str, operator: Operator = "api") -> dict[str, Any]:
        """Let the snapshot go live that waits because it shrinks the list too much."""
        found = await admin.resolved(account, name)
        await operations.accept(found, actor=_actor(operator))
        return await admin.described(found)

    @router.post("/erase")
    async def erase(person: Person, operator: Operator = "api") -> dict[str, Any]:
        """Take one person out of lists, journals and checkpoints.

        The receipt says from where, which receivers are outstanding, and which commands of other services to run too.
        """
        return await operations.erase(person.id, actor=_actor(operator))

    @router.post("/checkpoint")
    async def checkpoint() -> dict[str, Any]:
        """Write a checkpoint now: what an import brought is then as durable as a push."""
        return {"checkpoint": await admin.receiver.write_checkpoint()}

    return router


def _actor(operator: str) -> str:
    return _UNPRINTABLE.sub("_", operator) or "api"
