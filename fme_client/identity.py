"""Who we are, and who a visitor is, in what is sent."""

from __future__ import annotations

import functools
import uuid

NAME = "cohort-gateway-python-client"
VERSION = "0.1.0"

_VWO = uuid.uuid5(uuid.NAMESPACE_URL, "https://vwo.com")


def get_uuid(user_id: str, account_id: str) -> str:
    """The id under which VWO keeps a visitor: 32 hexadecimal digits, upper case (the Node SDK's `getUUID`)."""
    return uuid.uuid5(_account(account_id), user_id).hex.upper()


getUUID = get_uuid  # noqa: N816 - the Node SDK's spelling


@functools.lru_cache(maxsize=64)
def _account(account_id: str) -> uuid.UUID:
    return uuid.uuid5(_VWO, account_id)
