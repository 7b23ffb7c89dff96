"""Look at a list's members, for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attribute_lists import keys

if TYPE_CHECKING:
    from foundation.store import Store

_COUNT = 500  # members a look; 1,000 hold up other clients of the store for 1.3 ms


async def member_page(store: Store, name: tuple[str, str], cursor: int) -> tuple[int, list[str]]:
    """The next cursor (0: that was all) and some members. One that is there all the time comes at least once."""
    after, members = await store.execute_command("SSCAN", keys.members(*name), cursor, "COUNT", _COUNT)
    return int(after), [member.decode() for member in members]


async def is_member(store: Store, name: tuple[str, str], member: str) -> bool:
    encoded = member.encode("utf-8", "surrogatepass")
    return bool(await store.execute_command("SISMEMBER", keys.members(*name), encoded))
