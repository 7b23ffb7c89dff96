"""Where a user falls: MurmurHash3 (x86, 32 bits, seed 1) of a key that ends in the user's id."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from mmh3 import mmh3_32_uintdigest

from fme_client.evaluation.js import text, truthy, utf8

PERCENT = 100
BASIS_POINTS = 10_000
_SEED = 1
_VWO = uuid5(NAMESPACE_URL, "https://vwo.com")


def prefix(salt: Any, *parts: Any) -> bytes:
    """What comes before the user's id in a key: the salt, else the first of `parts`; then the other parts."""
    first, *others = parts
    return utf8("".join(f"{text(part)}_" for part in (salt if truthy(salt) else first, *others)))


def bucket(key: bytes, buckets: int) -> int:
    """A number from 1 to `buckets`."""
    # Integers give what the SDK's doubles do: its products stay below 2**53.
    return (mmh3_32_uintdigest(key, _SEED) * buckets >> 32) + 1


def account_namespace(account_id: str) -> UUID:
    return uuid5(_VWO, account_id)


def visitor_id(namespace: UUID, user_id: str) -> str:
    """The id under which VWO knows a user: 32 upper case hexadecimal digits."""
    return uuid5(namespace, user_id).hex.upper()
