"""What is to be broken: a store, cohort-sync and a gateway on it, real processes all."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attribute_lists import keys
from tests.cohort_sync.conftest import TOKEN
from tests.support import http
from tests.support.certificates import Certificates, make_certificates
from tests.support.cluster import Cluster, running_cluster
from tests.support.heap import SECRET, Heap
from tests.support.ports import free_ports
from tests.support.processes import ROOT, Program, cohort_sync, gateway, running
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import until
from tests.write_side.sides import FILES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.write_side.sides import WriteSide

ACCOUNT = "123456"
LIST = "heap_premium_users"
MEMBERS = keys.members(ACCOUNT, LIST)
_HOST = "store.test"
_START_SECONDS = 30.0


@dataclass
class Site:
    """`server` or `cluster`: the store. `others`: what else a fault may need, by its type."""

    heap: Heap
    gateway: Program
    cohort_sync: Program
    server: Server | None = None
    cluster: Cluster | None = None
    others: list[Any] = field(default_factory=list)

    def other(self, kind: type[Any]) -> Any:
        return next(found for found in self.others if isinstance(found, kind))

    @property
    def one_server(self) -> Server:
        assert self.server is not None
        return self.server

    def push(self, **page: Any) -> None:
        """A page (as `Heap.sync` takes it), acknowledged."""
        answer = self.heap.sync(**page)
        assert answer.status_code == 200, answer.text

    def check(self, who: str) -> str:
        """`X-Membership` of one check."""
        return http.membership(self.gateway.address, who, LIST, account=ACCOUNT)

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Of the gateway."""
        answer = http.get(f"{self.gateway.address}/readyz")
        return answer.status_code, answer.json()

    def counted(self) -> dict[str, int]:
        """What the gateway counts, by state."""
        lines = http.get(f"{self.gateway.address}/metrics").text.splitlines()
        found = (line.removeprefix("cohort_gateway_checks_total").split() for line in lines)
        return {words[0][8:-2]: int(float(words[1])) for words in found if words and words[0].startswith("{state=")}


class Names:
    """The name service: who is asked for `store.test` says `127.0.0.1`, or nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def answer(self) -> None:
        self.path.write_text(json.dumps({_HOST: "127.0.0.1"}))

    def go_away(self) -> None:
        self.path.unlink()


@contextlib.contextmanager
def one_server(directory: Path, side: WriteSide = FILES, /, **of_gateway: str) -> Iterator[Site]:
    """`of_gateway`: further settings of it."""
    with (
        _server(directory) as server,
        _services(directory, side, _url(server.port), of_gateway=_url(server.port) | of_gateway) as site,
    ):
        site.server = server
        yield site


@contextlib.contextmanager
def behind_a_proxy(directory: Path, side: WriteSide = FILES) -> Iterator[Site]:
    """The gateway's way to the store is through a proxy, cohort-sync's is not."""
    with (
        _server(directory) as server,
        Proxy(server.port) as proxy,
        _services(directory, side, _url(server.port), of_gateway=_url(proxy.port)) as site,
    ):
        site.server = server
        site.others.append(proxy)
        yield site


@contextlib.contextmanager
def by_name(directory: Path, side: WriteSide = FILES, *, known: bool = True) -> Iterator[Site]:
    """The gateway knows the store by a name, which resolves from the start if it is `known`."""
    names = Names(directory / "names.json")
    if known:
        names.answer()
    with _server(directory) as server:
        of_gateway = {"REDIS_URL": f"redis://{_HOST}:{server.port}", "NAMES_FILE": str(names.path)}
        program = ["tests.support.gateway_with_names", "serve"]
        with _services(directory, side, _url(server.port), of_gateway=of_gateway, program=program) as site:
            site.server = server
            site.others.append(names)
            yield site


@contextlib.contextmanager
def over_tls(directory: Path, side: WriteSide = FILES) -> Iterator[Site]:
    right, wrong = (make_certificates(directory / name) for name in ("right", "wrong"))
    with _server(directory, right) as server:
        impostor = Server(directory / "impostor", server.port, wrong)
        store = {"REDIS_URL": f"rediss://127.0.0.1:{server.port}", "REDIS_TLS_CA_PATH": str(right.authority)}
        try:
            with _services(directory, side, store) as site:
                site.server = server
                site.others.append(impostor)
                yield site
        finally:
            impostor.kill()


@contextlib.contextmanager
def a_cluster(directory: Path, side: WriteSide = FILES) -> Iterator[Site]:
    """Three primaries, each with a replica."""
    with (
        running_cluster(directory / "nodes", replicas=3) as cluster,
        _services(directory, side, cluster.settings) as site,
    ):
        site.cluster = cluster
        yield site


@contextlib.contextmanager
def _server(directory: Path, certificates: Certificates | None = None) -> Iterator[Server]:
    server = Server(directory / "server", free_ports(1)[0], certificates)
    try:
        start(server)
        yield server
    finally:
        server.kill()


def start(server: Server) -> None:
    """Start it, again perhaps, on its files."""
    server.start("--appendonly", "yes", "--appendfsync", "always", "--save", "")


def _url(port: int) -> dict[str, str]:
    return {"REDIS_URL": f"redis://127.0.0.1:{port}"}


@contextlib.contextmanager
def _services(
    directory: Path,
    side: WriteSide,
    store: Mapping[str, str],
    *,
    of_gateway: Mapping[str, str] | None = None,
    program: list[str] | None = None,
) -> Iterator[Site]:
    own = {"ADMIN_TOKEN": TOKEN, "HEAP_WEBHOOK_SECRET": SECRET, "DATA_DIR": str(directory / "data")}
    settings_file = str(ROOT / "examples" / "settings.json")
    read_by = {"PORT": "0", "SETTINGS_FILE": settings_file} | own | dict(of_gateway or store)
    reading = gateway(directory, read_by) if program is None else running(program, read_by, directory=directory)
    with cohort_sync(directory, own | dict(store) | side.settings) as writer, reading as reader:
        until(lambda: _is_ready(writer), seconds=_START_SECONDS, what="the receiver to be ready")
        yield Site(Heap(writer.address), reader, writer)


def _is_ready(receiver: Program) -> bool:
    return bool(http.get(f"{receiver.addresses[1]}/readyz").json() == {"status": "ok"})
