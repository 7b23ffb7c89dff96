"""Who a visitor is in what is sent."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from fme_client.evaluation.hashing import account_namespace, visitor_id

if TYPE_CHECKING:
    from uuid import UUID


def get_uuid(user_id: str, account_id: str) -> str:
    """The id under which VWO keeps a visitor: 32 hexadecimal digits, upper case (the Node SDK's `getUUID`)."""
    return visitor_id(_namespace(account_id), user_id)


getUUID = get_uuid  # noqa: N816 - the Node SDK's spelling


@functools.lru_cache(maxsize=64)
def _namespace(account_id: str) -> UUID:
    return account_namespace(account_id)
