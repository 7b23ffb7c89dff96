"""What is wrong with the store, and what to do about it: for logs, readiness and the command line."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MaxConnectionsError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
)
from redis.exceptions import TimeoutError as StoreTimeoutError

from foundation.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first that fits counts, so what is more special comes first. Texts of our own: those of redis-py may name members.
_ADVICE: tuple[tuple[type[BaseException], str], ...] = (
    (AuthenticationError, "the password is missing or wrong: see REDIS_PASSWORD, or the password in REDIS_URL"),
    (NoPermissionError, "the store's user may not do this: docs/redis.md says what it needs"),
    (MovedError, "the store is a node of a cluster: set REDIS_CLUSTER=true"),
    (ReadOnlyError, "the store is a read-only replica: the address must be the primary's"),
    (OutOfMemoryError, "the store is out of memory"),
    (MaxConnectionsError, "too much is asked at once: all connections to the store are taken"),
    (BusyLoadingError, "the store is still loading its data"),
    (ClusterDownError, "the cluster has no primary for some slots"),
    (MasterNotFoundError, "no Sentinel knows a working master of that name (REDIS_SENTINELS, REDIS_SENTINEL_MASTER)"),
    (ConnectionRefusedError, "nobody listens at that address"),
    (ConnectionResetError, "the server hung up; one that wants TLS does that to redis:// (use rediss://)"),
    (StoreTimeoutError, "no answer in time; a server without TLS does that to rediss:// (use redis://)"),
    (TimeoutError, "no answer in time"),
)


# OpenSSL's codes of VERIFY_X509_STRICT, which Python sets from 3.13 on: a certificate lacks an extension, say.
_STRICT = range(80, 94)


def explain(error: BaseException) -> str:
    """A line about an error of the store, without anything of the data."""
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            advice = "docs/redis.md says what it must hold" if cause.verify_code in _STRICT else "see REDIS_TLS_CA_PATH"
            return f"its certificate is not accepted ({cause.verify_message}): {advice}"
        if isinstance(cause, ssl.SSLError):
            return f"no TLS connection ({cause.reason or 'unknown reason'}); redis:// is for servers without TLS"
        if isinstance(cause, RedisClusterException) and "Cluster mode is not enabled" in str(cause):
            return "the store is no cluster: leave REDIS_CLUSTER out"
    for kind, advice in _ADVICE:
        if any(isinstance(cause, kind) for cause in chain):
            return advice
    return type(error).__name__


def unavailable(error: BaseException) -> UnavailableError:
    """What to answer to somebody whose request ended in an error of the store: another one may succeed later."""
    if isinstance(error, MaxConnectionsError):
        return UnavailableError("too much is asked of the store at once; try again later", reason="store_busy")
    return UnavailableError("the store is away; try again later", reason="store_away")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
