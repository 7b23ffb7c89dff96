"""Describe lists to operators: what each holds, where it comes from, and how its sync stands."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attribute_lists import keys
from attribute_lists.definitions import Definitions
from attribute_lists.order import QUIET_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foundation.store import Store


@dataclass(frozen=True, slots=True)
class ListDescription:
    """One list. Times are Unix milliseconds; counts are those since the list was made.

    `held`: "<live> <staged>" members, where a snapshot waits for the operator since it would shrink the list so much.
    """

    account: str
    list_id: str
    aliases: Sequence[str]
    source: str
    segment_id: str
    segment_name: str
    mode: str
    active: bool
    members: int
    status: str
    task: str | None
    created: int
    last_page: int | None
    added: int
    removed: int
    skipped: int
    held: str | None


async def describe_lists(store: Store, *, stale_after: float) -> list[ListDescription]:
    """Every list, by account and id. `stale_after`: seconds without a page after which a recurring list is stale."""
    return await _describe(store, await Definitions(store).lists(), stale_after)


async def describe_list(store: Store, name: tuple[str, str], *, stale_after: float) -> ListDescription:
    """One list that is known to exist."""
    return (await _describe(store, [name], stale_after))[0]


async def _describe(store: Store, lists: list[tuple[str, str]], stale_after: float) -> list[ListDescription]:
    aliases = await Definitions(store).aliases()
    pipeline: Any = store.pipeline(transaction=False)
    for account, list_id in lists:
        pipeline.execute_command("HGETALL", keys.about(account, list_id))
        pipeline.execute_command("SCARD", keys.members(account, list_id))
    answers = await pipeline.execute() if lists else []
    now = int(time.time() * 1000)
    return [
        _description(
            name,
            aliases.get(name, []),
            {field.decode(): value.decode() for field, value in _fields(about)},
            members=members,
            now=now,
            stale_after_ms=int(stale_after * 1000),
        )
        for name, about, members in zip(lists, answers[::2], answers[1::2], strict=True)
    ]


def _fields(about: Any) -> Any:
    return about.items() if isinstance(about, dict) else zip(about[::2], about[1::2], strict=True)


def _description(
    name: tuple[str, str],
    aliases: list[str],
    about: dict[str, str],
    *,
    members: int,
    now: int,
    stale_after_ms: int,
) -> ListDescription:
    last_page = int(about["last_page"]) if "last_page" in about else None
    return ListDescription(
        account=name[0],
        list_id=name[1],
        aliases=aliases,
        source=about.get("source", ""),
        segment_id=about.get("segment_id", ""),
        segment_name=about.get("segment_name", ""),
        mode=about.get("mode", "delta"),
        active=about.get("active") == "1",
        members=members,
        status=_status(about, now=now, stale_after_ms=stale_after_ms),
        task=about.get("task"),
        created=int(about.get("created", 0)),
        last_page=last_page,
        added=int(about.get("added", 0)),
        removed=int(about.get("removed", 0)),
        skipped=int(about.get("skipped", 0)),
        held=about.get("held"),
    )


def _status(about: dict[str, str], *, now: int, stale_after_ms: int) -> str:
    if about.get("active") != "1" or ("last_page" not in about and "drained" not in about):
        return "waiting"
    if int(about.get("drained", -1)) > int(about.get("task_at", -1)):
        return "drained"
    pages, total = int(about.get("task_pages", 0)), int(about.get("task_total", 0))
    silence = now - int(about["last_page"])
    if pages < total:
        return f"syncing {pages}/{total}" if silence <= QUIET_MS else "incomplete"
    # One-shot syncs have nothing to be late for: a second task is what shows a list to be recurring.
    recurring = int(about.get("tasks", 0)) > 1
    return "stale" if recurring and silence > stale_after_ms else "synced"
