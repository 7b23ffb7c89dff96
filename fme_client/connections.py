"""Connections of `requests` that end when the time of a request is over, and that survive a fork.

Timeouts of sockets start anew with each byte that arrives, and nothing bounds a name look-up. So the sockets here give
every read only the time that is left of the whole request, and looking up and connecting happens in a thread that the
caller leaves behind.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from fme_client.errors import OptionError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from fme_client.workers import Workers


class _Here(threading.local):
    """What the connections of this thread's request need to know."""

    deadline: float
    connecting: Workers


_here = _Here()


def begin(deadline: float, connecting: Workers) -> None:
    """From now on this thread's requests end at `deadline`, and connect in `connecting`."""
    _here.deadline, _here.connecting = deadline, connecting


def remaining() -> float:
    """Seconds that are left of this thread's request. Raises `TimeoutError` where there are none."""
    return _seconds_until(_here.deadline)


def _seconds_until(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


class _Socket(socket.socket):
    def recv_into(self, *arguments: Any) -> int:
        self.settimeout(remaining())
        return super().recv_into(*arguments)


class _TlsSocket(ssl.SSLSocket):
    def recv(self, *arguments: Any) -> bytes:
        # Only `ssl` itself reads so, in making this, and where the server has reset the connection it leaves it open.
        try:
            return super().recv(*arguments)
        except OSError:
            self.close()
            raise

    def recv_into(self, *arguments: Any) -> int:
        self.settimeout(remaining())
        return super().recv_into(*arguments)


def _connect(connection: HTTPConnection) -> socket.socket:
    """A connected socket, made in a thread that is left behind at the deadline."""
    future = _here.connecting.submit(partial(_open, connection, _here.deadline))
    try:
        connected = future.result(timeout=remaining())
    except BaseException:
        if not future.cancel():
            future.add_done_callback(_close)
        raise
    connected.settimeout(max(_here.deadline - time.monotonic(), 0.001))  # holds for a whole handshake of TLS
    return connected


def _open(connection: HTTPConnection, deadline: float) -> _Socket:
    """A socket connected to the first address of the host that takes it; none is tried after the deadline."""
    host = connection._dns_host  # noqa: SLF001 - `host` is without the dot at its end, which look-ups heed
    try:
        addresses = socket.getaddrinfo(host.strip("[]"), connection.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameResolutionError(host, connection, error) from error
    failure = OSError("the name has no address")
    for family, kind, protocol, _, address in addresses:
        opened = _Socket(family, kind, protocol)
        try:
            for option in connection.socket_options or ():
                opened.setsockopt(*option)
            opened.settimeout(_seconds_until(deadline))
            opened.connect(address)
        except OSError as error:
            opened.close()
            failure = error
        else:
            return opened
    if isinstance(failure, TimeoutError):
        raise failure
    raise NewConnectionError(connection, str(failure)) from failure


def _close(future: Future[_Socket]) -> None:
    if future.exception() is None:
        future.result().close()


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _TlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _Idle(queue.LifoQueue[Any]):
    """As much of it as urllib3 uses, without its lock: a fork may copy one that is held, for ever."""

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self._items: deque[Any] = deque()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        del block, timeout  # nobody waits for room, or for a connection
        if len(self._items) >= self.maxsize:
            raise queue.Full
        self._items.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        del block, timeout
        try:
            return self._items.pop()
        except IndexError:
            raise queue.Empty from None

    def qsize(self) -> int:
        return len(self._items)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection
    QueueCls: Any = _Idle


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
    QueueCls: Any = _Idle


class BoundedAdapter(HTTPAdapter):
    """Makes such connections, and keeps `pooled` of them for the next request.

    `certificates` names a file, or nothing where the server speaks no TLS. It is read once: `requests` would read it
    for each connection, which costs tens of milliseconds of somebody's deadline. Connections to a proxy are of the
    usual kind, but for TLS. Raises `OptionError` for a file that can't be read.
    """

    def __init__(self, pooled: int, certificates: str | None) -> None:
        self._context = create_urllib3_context()
        self._context.sslsocket_class = _TlsSocket
        if certificates is not None:
            try:
                self._context.load_verify_locations(certificates)
            except OSError as error:
                raise OptionError(
                    f"REQUESTS_CA_BUNDLE must name a PEM file of certificates: {error.strerror}"
                ) from error
        super().__init__(pool_connections=1, pool_maxsize=pooled)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._context, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        return super().proxy_manager_for(*arguments, ssl_context=self._context, **options)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """The context has the certificates."""
        del url, verify, cert
        conn.cert_reqs = "CERT_REQUIRED"

    def close(self) -> None:
        # urllib3 leaves this to finalizers, which are over when the program ends.
        pools = self.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118 - this container can't be iterated over
            pools[key].close()
        super().close()
