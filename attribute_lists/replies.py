"""What the store's replies and errors mean for those who asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import AskError, MaxConnectionsError, RedisError, ResponseError

from attribute_lists.states import State

if TYPE_CHECKING:
    from typing import Any

MOVED = "moved"  # the trouble of what another node has


def trouble_of(reply: Any) -> State | str | None:
    """What stands against answering for a list whose look gave this."""
    if reply == b"1":
        return None
    if isinstance(reply, AskError):
        return MOVED
    if isinstance(reply, RedisError):
        return State.ERROR if type(reply) is ResponseError else State.STORE_DOWN
    return State.UNKNOWN_LIST if reply is None else State.INACTIVE_LIST


def trouble_of_answers(reply: Any) -> State | str | None:
    """The same, of a reply that holds an answer to each question."""
    return None if isinstance(reply, list) else trouble_of(reply) or State.ERROR


def state_of(error: Exception) -> State:
    """What is known where asking by redis-py ended in `error`: that too many ask says nothing about the store."""
    return State.OVERLOADED if isinstance(error, MaxConnectionsError) else State.STORE_DOWN
