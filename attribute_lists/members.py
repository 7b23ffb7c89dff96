"""Looks at the members of lists, for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attribute_lists import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foundation.store import Store

_SIZES_AT_ONCE = 1000
_COUNT = 500  # members a look; 1,000 hold up other clients of the store for 1.3 ms


async def member_page(store: Store, name: tuple[str, str], cursor: int) -> tuple[int, list[str]]:
    """The next cursor (0: that was all) and some members. One that is there all the time comes at least once."""
    after, members = await store.execute_command("SSCAN", keys.members(*name), cursor, "COUNT", _COUNT)
    return int(after), [member.decode() for member in members]


async def is_member(store: Store, name: tuple[str, str], member: str) -> bool:
    encoded = member.encode("utf-8", "surrogatepass")
    return bool(await store.execute_command("SISMEMBER", keys.members(*name), encoded))


async def sizes(store: Store, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """How many members each list (account, list id) has; one whose set is damaged is left out."""
    found: dict[tuple[str, str], int] = {}
    for start in range(0, len(names), _SIZES_AT_ONCE):
        part = names[start : start + _SIZES_AT_ONCE]
        pipeline = store.pipeline(transaction=False)
        for name in part:
            pipeline.execute_command("SCARD", keys.members(*name))
        answers = await pipeline.execute(raise_on_error=False)
        found |= {name: size for name, size in zip(part, answers, strict=True) if isinstance(size, int)}
    return found
