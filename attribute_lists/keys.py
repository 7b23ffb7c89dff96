"""The Redis keys of lists.

All keys of one list share the hash tag `{account:list}`, so that a script may touch them together on a cluster;
an account id holds no `:`, hence the tag reads one way only. What spans lists lives under `{registry}`.
"""

from __future__ import annotations

REGISTRY_LISTS = "cg:{registry}:lists"  # set of "account:list"
REGISTRY_SEGMENTS = "cg:{registry}:segments"  # hash "account:segment id" -> list id
REGISTRY_ALIASES = "cg:{registry}:aliases"  # hash "account:alias" -> list id
REGISTRY_ERASED = "cg:{registry}:erased"  # sorted set of persons erased (keyed hashes) by time (ms)
REGISTRY_APPLIED = "cg:{registry}:applied"  # sorted set: marks of changes that belong to no one list
REGISTRY_IDENTITY = "cg:{registry}:identity"  # names this store; gone when it was emptied
REGISTRY_ABOUT = "cg:{registry}:about"  # hash: which database wrote the registry, and its number there
REGISTRY_REFUSED = "cg:{registry}:refused"  # as `refused`
REGISTRY_REBUILDING = "cg:{registry}:rebuilding"  # who builds everything again after a loss; expires
RECEIVER = "cg:receiver"  # what the receiver says of itself (JSON); gone soon after it is
CHANGES = "cg:changes"  # channel: told when lists or aliases come and go


def qualified(account: str, name: str) -> str:
    """The name of a list, segment or alias across accounts."""
    return f"{account}:{name}"


def members(account: str, list_id: str) -> str:
    """Set of the list's members, UTF-8."""
    return f"cg:{{{account}:{list_id}}}:members"


def about(account: str, list_id: str) -> str:
    """Hash of what describes the list: definition, counters, times."""
    return f"cg:{{{account}:{list_id}}}:about"


def applied(account: str, list_id: str) -> str:
    """Sorted set of the bodies that were applied (their hashes), by the time (ms) of applying."""
    return f"cg:{{{account}:{list_id}}}:applied"


def ledger(account: str, list_id: str) -> str:
    """Hash of the bookkeeping that keeps tasks in order; `attribute_lists.ledgers` says what is in it."""
    return f"cg:{{{account}:{list_id}}}:ledger"


def body(account: str, list_id: str, digest: str) -> str:
    """The members of one page, packed, for as long as the ordering window needs them."""
    return f"cg:{{{account}:{list_id}}}:body:{digest}"


def erased(account: str, list_id: str) -> str:
    """Sorted set of the persons erased from the account (keyed hashes), by the time (ms) of the erasure."""
    return f"cg:{{{account}:{list_id}}}:erased"


def staging(account: str, list_id: str, task: str) -> str:
    """Set that a snapshot task gathers its members in until it is whole."""
    return f"cg:{{{account}:{list_id}}}:staging:{task}"


def refused(account: str, list_id: str) -> str:
    """Touched by a guard that refuses, so that the transaction which watches it does nothing."""
    return f"cg:{{{account}:{list_id}}}:refused"


def rebuilding(account: str, list_id: str, attempt: str) -> str:
    """Set that a list is built again in, from its base; one an attempt, since several receivers may try at once."""
    return f"cg:{{{account}:{list_id}}}:rebuilding:{attempt}"


def fence(account: str, list_id: str, token: str) -> str:
    """Written behind a run of slices: where it is, the store has them all."""
    return f"cg:{{{account}:{list_id}}}:fence:{token}"


def discarded(account: str, list_id: str) -> str:
    """The set that a swap took out of use, for as long as that step lasts."""
    return f"cg:{{{account}:{list_id}}}:discarded"


def importing(account: str, list_id: str, attempt: str, part: str) -> str:
    """A part of a list that an archive is read into; it takes its place when all parts are there."""
    return f"cg:{{{account}:{list_id}}}:importing:{attempt}:{part}"
