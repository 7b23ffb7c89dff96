"""The Redis keys of a stream.

They share the hash tag `{stream}`, so that a script may touch them together on a cluster. They don't begin like those
of lists, whose every change Redis tells the gateways (`attribute_lists.line`): events would drown these.
"""

from __future__ import annotations


def entries(stream: str) -> str:
    """Stream of the events that are not delivered yet: fields `to`, `body`. The rest is deleted."""
    return f"cg:stream:{{{stream}}}:entries"


def dead(stream: str) -> str:
    """Stream of dead letters: fields `reason`, `was` (the id it had), `to`, `body`."""
    return f"cg:stream:{{{stream}}}:dead"


def counts(stream: str) -> str:
    """Hash of what happened since the store was new: `appended`, `delivered`, `dropped`, `dead`, `dead_dropped`, ..."""
    return f"cg:stream:{{{stream}}}:counts"


def writer(stream: str, name: str) -> str:
    """The last append of a writer and what came of it, so that one whose answer was lost is not made twice; expires."""
    return f"cg:stream:{{{stream}}}:writer:{name}"


def marks(stream: str, kept: str, share: int) -> str:
    """Set of the marks of events that were appended, so that each is appended once: one share of those `kept` so long.

    In shares, since Redis keeps small sets in a third of the memory.
    """
    return f"cg:stream:{{{stream}}}:marks:{kept}:{share:x}"
