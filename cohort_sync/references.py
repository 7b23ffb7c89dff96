"""Which flags use a list, as the gateways publish it: what an operator should know before a list goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from published.references import References

if TYPE_CHECKING:
    from collections.abc import Collection

    from foundation.store import Store


async def flags_using(store: Store, account: str, names: Collection[str]) -> list[dict[str, str]]:
    """The flags whose rules name one of `names` (a list's id and its aliases), each with the rule and the variable.

    Raises the store's errors.
    """
    found = await References(store).of_account(account)
    return [one._asdict() for one in found if one.name in names]
