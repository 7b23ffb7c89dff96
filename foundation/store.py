"""The connection to the store: a single Redis-compatible server, a Sentinel set-up or a Cluster, by the settings."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError

from foundation.errors import ConfigurationError

if TYPE_CHECKING:
    from foundation.settings import ServiceSettings

Store = Redis | RedisCluster

# redis-py lets a bare OSError through now and then (redis-py issue 3450; TimeoutError is one too), so both count as
# "the store is away".
STORE_ERRORS: tuple[type[Exception], ...] = (RedisError, OSError)

_LONGEST_SOCKET_PATH = 100  # sun_path holds 108 bytes with its final zero, on macOS 104


def embedded_socket(data_dir: Path) -> Path:
    """Where the embedded server of `data_dir` listens; both ends compute it, so nobody needs to be told."""
    home = data_dir.resolve() / "store"
    socket = home / "store.sock"
    if len(os.fsencode(socket)) <= _LONGEST_SOCKET_PATH:
        return socket
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"cohort-gateway-{os.getuid()}-{digest}" / "store.sock"


def connect(settings: ServiceSettings, *, timeout: float = 5.0, retries: int = 1) -> Store:
    """A client of the configured store; it connects on first use. `timeout` (seconds) covers connecting and answers.

    Raises `ConfigurationError` for an address that can't be right.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries),
        "health_check_interval": 15,
    }
    if settings.redis_password is not None:
        options["password"] = settings.redis_password
    if settings.uses_embedded_store:
        return Redis(unix_socket_path=str(embedded_socket(settings.data_dir)), **options)
    if settings.redis_sentinels is not None:
        return _sentinel_client(settings, options | _tls(settings, wanted=settings.redis_enable_tls))
    if settings.redis_url is not None:
        return _url_client(settings, settings.redis_url, options)
    options |= {"host": settings.redis_host, "port": settings.redis_port}
    options |= _tls(settings, wanted=settings.redis_enable_tls)
    if settings.redis_cluster:
        return RedisCluster(**_for_cluster(options))
    return Redis(**options)


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


def _url_client(settings: ServiceSettings, url: str, options: dict[str, Any]) -> Store:
    scheme = url.partition("://")[0]
    if scheme not in ("redis", "rediss", "unix"):
        raise ConfigurationError("REDIS_URL must start with redis://, rediss:// (TLS) or unix://")
    if scheme == "rediss":
        # from_url picks the TLS connection by the scheme; it knows no `ssl` option.
        options |= {name: value for name, value in _tls(settings, wanted=True).items() if name != "ssl"}
    try:
        if settings.redis_cluster:
            return RedisCluster.from_url(url, **_for_cluster(options))
        return Redis.from_url(url, **options)
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
    timeouts = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout")}
    sentinel: Any = Sentinel(addresses, sentinel_kwargs=timeouts, **options)  # type: ignore[no-untyped-call] # redis-py
    client: Redis = sentinel.master_for(settings.redis_sentinel_master)
    return client


def _for_cluster(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "health_check_interval"}


def _tls(settings: ServiceSettings, *, wanted: bool) -> dict[str, Any]:
    if not wanted:
        return {}
    options: dict[str, Any] = {"ssl": True}
    if not settings.redis_tls_reject_unauthorized:
        options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    for name, path in (
        ("ssl_ca_certs", settings.redis_tls_ca_path),
        ("ssl_keyfile", settings.redis_tls_key_path),
        ("ssl_certfile", settings.redis_tls_cert_path),
    ):
        if path is not None:
            options[name] = str(path)
    return options
