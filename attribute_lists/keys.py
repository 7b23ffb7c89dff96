"""The Redis keys of lists.

All keys of one list share the hash tag `{account:list}`, so that a script may touch them together on a cluster;
an account id holds no `:`, hence the tag reads one way only. What spans lists lives under `{registry}`.
"""

from __future__ import annotations

REGISTRY_LISTS = "cg:{registry}:lists"  # set of "account:list"
REGISTRY_SEGMENTS = "cg:{registry}:segments"  # hash "account:segment id" -> list id
REGISTRY_ALIASES = "cg:{registry}:aliases"  # hash "account:alias" -> list id
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


def task_pages(account: str, list_id: str) -> str:
    """Set of the page numbers seen of the newest sync task."""
    return f"cg:{{{account}:{list_id}}}:task-pages"
