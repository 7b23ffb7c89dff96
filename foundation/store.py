"""The connection to the store: a single Redis-compatible server, a Sentinel set-up or a Cluster, by the settings."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from redis.asyncio import Connection, Redis, RedisCluster, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisClusterException, RedisError

from foundation.cluster import ClusterStore
from foundation.errors import ConfigurationError
from foundation.packing import use_hiredis
from foundation.pools import WaitingPool
from foundation.sentinel import sentinel_client
from foundation.tls import share_contexts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from foundation.settings import ServiceSettings

Store = Redis | RedisCluster
Answer = TypeVar("Answer")

# redis-py lets a bare OSError through now and then (redis-py issue 3450; TimeoutError is one too), so both count as
# "the store is away". A cluster none of whose nodes answers is an error outside redis-py's own tree.
STORE_ERRORS: tuple[type[Exception], ...] = (RedisError, RedisClusterException, OSError)

_PORT = 6379
_TLS_SETTINGS = {
    "ssl_ca_certs": "REDIS_TLS_CA_PATH",
    "ssl_keyfile": "REDIS_TLS_KEY_PATH",
    "ssl_certfile": "REDIS_TLS_CERT_PATH",
}
_LONGEST_SOCKET_PATH = 100  # sun_path holds 108 bytes with its final zero, on macOS 104


def embedded_socket(data_dir: Path) -> Path:
    """Where the embedded server of `data_dir` listens; both ends compute it, so nobody needs to be told."""
    home = data_dir.resolve() / "store"
    socket = home / "store.sock"
    if len(os.fsencode(socket)) <= _LONGEST_SOCKET_PATH:
        return socket
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"cohort-gateway-{os.getuid()}-{digest}" / "store.sock"


def connect(
    settings: ServiceSettings, *, timeout: float = 5.0, connect_timeout: float = 5.0, retries: int = 1
) -> Store:
    """A client of the configured store; it connects on first use. `timeout`: seconds for an answer.

    Raises `ConfigurationError` for an address that can't be right, or a file of certificates that can't be read.
    """
    use_hiredis()
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": connect_timeout,
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries),
        "health_check_interval": 15,
    }
    if settings.redis_password is not None:
        options["password"] = settings.redis_password
    if settings.uses_embedded_store:
        socket = str(embedded_socket(settings.data_dir))
        return Redis.from_pool(WaitingPool(UnixDomainSocketConnection, path=socket, **options))
    if settings.redis_sentinels is not None:
        return _sentinel_client(settings, options)
    if settings.redis_url is not None:
        return _url_client(settings, settings.redis_url, options, retries=retries)
    options |= {"host": settings.redis_host, "port": settings.redis_port}
    options |= _tls(settings, wanted=settings.redis_enable_tls)
    if settings.redis_cluster:
        return ClusterStore(retries=retries, **_for_cluster(options))
    connection = SSLConnection if options.pop("ssl", False) else Connection
    return Redis.from_pool(WaitingPool(connection, **options))


async def server_ids(store: Store) -> str:
    """Which run of which server (of each primary, on a cluster) answers: another one may lack the last writes."""

    async def ids(target: dict[str, Any]) -> str:
        server, replication = await asyncio.gather(store.info("server", **target), store.info("replication", **target))
        return f"{server.get('run_id')}:{replication.get('master_replid')}"

    return " ".join(sorted(await of_each_primary(store, ids)))


async def ping(store: Store) -> None:
    """Raises the store's errors unless every server that takes writes answers."""
    await of_each_primary(store, lambda target: store.execute_command("PING", **target))


def look_again(store: Store) -> None:
    """Servers may have changed places, says who noticed it without a command (on a subscription)."""
    if isinstance(store, ClusterStore):
        store.look_again()


async def of_each_primary(store: Store, ask: Callable[[dict[str, Any]], Awaitable[Answer]]) -> list[Answer]:
    """The answers of each server that takes writes: one, except on a cluster.

    `ask` gets the options that send a command there.
    """
    if not isinstance(store, RedisCluster):
        return [await ask({})]
    await store.initialize()
    return list(await asyncio.gather(*(ask({"target_nodes": node}) for node in store.get_primaries())))


def describe_store(settings: ServiceSettings) -> str:
    """The store's address for people, without credentials."""
    if settings.uses_embedded_store:
        return f"unix://{embedded_socket(settings.data_dir)} (embedded)"
    if settings.redis_sentinels is not None:
        return f"sentinels {settings.redis_sentinels}, master {settings.redis_sentinel_master}"
    if settings.redis_url is not None:
        parts = urlsplit(settings.redis_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return f"{settings.redis_host}:{settings.redis_port}"


def _url_client(settings: ServiceSettings, url: str, options: dict[str, Any], *, retries: int) -> Store:
    scheme = url.partition("://")[0]
    if scheme not in ("redis", "rediss", "unix"):
        raise ConfigurationError("REDIS_URL must start with redis://, rediss:// (TLS) or unix://")
    if scheme == "rediss":
        # from_url picks the TLS connection by the scheme; it knows no `ssl` option.
        options |= {name: value for name, value in _tls(settings, wanted=True).items() if name != "ssl"}
    try:
        if settings.redis_cluster:
            url, others = _first_node(url)
            return ClusterStore.from_url(url, startup_nodes=others, retries=retries, **_for_cluster(options))
        return Redis.from_pool(WaitingPool.from_url(url, **options))
    except RedisClusterException as error:
        raise ConfigurationError(f"REDIS_URL does not fit REDIS_CLUSTER=true: {error}") from error
    except ValueError as error:
        raise ConfigurationError(
            "REDIS_URL can't be read: it looks like redis://[user:password@]host:port[/db]; "
            "percent-encode special characters of the password"
        ) from error


def _sentinel_client(settings: ServiceSettings, options: dict[str, Any]) -> Store:
    addresses: list[tuple[str, int]] = []
    for entry in (settings.redis_sentinels or "").split(","):
        host, _, port = entry.strip().rpartition(":")
        if not host or not port.isdigit():
            raise ConfigurationError("REDIS_SENTINELS must be host:port pairs with commas between them")
        addresses.append((host, int(port)))
    encrypted = _tls(settings, wanted=settings.redis_enable_tls)
    # They are asked when a connection is made, and have as long.
    patience = options["socket_connect_timeout"]
    of_sentinels = {"socket_timeout": patience, "socket_connect_timeout": patience} | encrypted
    if settings.redis_sentinel_password is not None:
        of_sentinels["password"] = settings.redis_sentinel_password
    return sentinel_client(
        addresses, settings.redis_sentinel_master, of_sentinels=of_sentinels, of_store=options | encrypted
    )


def _first_node(url: str) -> tuple[str, list[ClusterNode]]:
    """A cluster's address may name several nodes, so that one of them may be away at the start: the first, the others.

    Raises `ValueError`.
    """
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    first, *others = hosts.split(",")
    nodes = [urlsplit(f"//{other}") for other in others]
    found = [ClusterNode(str(node.hostname), node.port or _PORT) for node in nodes]
    return parts._replace(netloc=f"{user}{at}{first}").geturl(), found


def _for_cluster(options: dict[str, Any]) -> dict[str, Any]:
    """Without what `ClusterStore` sees to by itself."""
    return {name: value for name, value in options.items() if name not in ("health_check_interval", "retry")}


def _tls(settings: ServiceSettings, *, wanted: bool) -> dict[str, Any]:
    if not wanted:
        return {}
    share_contexts()
    options: dict[str, Any] = {"ssl": True}
    if not settings.redis_tls_reject_unauthorized:
        options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    for name, path in (
        ("ssl_ca_certs", settings.redis_tls_ca_path),
        ("ssl_keyfile", settings.redis_tls_key_path),
        ("ssl_certfile", settings.redis_tls_cert_path),
    ):
        if path is None:
            continue
        if not os.access(path, os.R_OK):
            raise ConfigurationError(f"{_TLS_SETTINGS[name]}: can't read {path}")
        options[name] = str(path)
    return options
