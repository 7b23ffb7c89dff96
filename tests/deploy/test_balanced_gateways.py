"""Gateways behind nginx, restarted one after the other under load: nobody notices."""

from __future__ import annotations

import contextlib
import re
import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.deploy.proxies import EXAMPLES, program
from tests.support import processes
from tests.support.ports import free_ports
from tests.support.waiting import until
from tests.support.web_servers import NGINX_IS_READY, nginx_command, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Program

_EVENT = {"d": {"msgId": "m", "visId": "5B1A", "event": {"name": "vwo_variationShown", "time": 1, "props": {"id": 2}}}}
_CLIENTS = 8
_RESTARTS = 4


class Load:
    """Clients that ask without a pause until it is over. `wrong`: answers that an SDK would not be content with."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.asked = 0
        self.wrong: list[str] = []
        self._over = threading.Event()

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._ask) for _ in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def wait_for_more(self, requests: int) -> None:
        wanted = self.asked + requests
        until(lambda: self.asked >= wanted, seconds=60, what="more requests")

    def _ask(self) -> None:
        check = "/check-attribute?attribute=alice&listId=heap_premium_users&accountId=123456"
        with httpx.Client(base_url=self._address, timeout=30) as client:
            while not self._over.is_set():
                for method, target, body in (("GET", check, None), ("POST", "/events/t?a=123456", _EVENT)):
                    try:
                        answer = client.request(method, target, json=body)
                    except httpx.HTTPError as error:
                        self.wrong.append(type(error).__name__)
                    else:
                        if answer.status_code != httpx.codes.OK:
                            self.wrong.append(f"{answer.status_code} {answer.text[:80]}")
                    self.asked += 1


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[tuple[str, list[int]]]:
    """Nginx on the example, and the ports of the two gateways that it expects."""
    nginx = program("nginx")
    front, *ports = free_ports(3)
    site = (EXAMPLES / "nginx-gateways.conf").read_text()
    for old, new in (("8020", front), ("8000", ports[0]), ("8010", ports[1])):
        site, count = re.subn(rf"127\.0\.0\.1:{old}", f"127.0.0.1:{new}", site)
        assert count == 1, f"nginx-gateways.conf has changed: no {old}"
    (tmp_path / "site.conf").write_text(site)
    command = nginx_command(nginx, tmp_path, f"access_log off;\ninclude {tmp_path}/site.conf;")
    with running_server(command, tmp_path) as said:
        until(lambda: any(NGINX_IS_READY in line for line in said), what="nginx to serve")
        yield f"http://127.0.0.1:{front}", ports


def test_gateways_that_are_restarted_one_after_the_other_are_never_missed(
    balancer: tuple[str, list[int]], tmp_path: Path, store_url: str
) -> None:
    address, ports = balancer

    def start(port: int) -> Program:
        (tmp_path / str(port)).mkdir(exist_ok=True)
        settings = {"REDIS_URL": store_url, "PORT": str(port), "SETTINGS_FILE": str(EXAMPLES / "settings.json")}
        started = processes.start_program(["gateway", "serve"], settings, directory=tmp_path / str(port))
        started.wait_for_line("listening on")
        return started

    gateways = {port: start(port) for port in ports}
    load = Load(address)
    with load.going_on():
        for number in range(_RESTARTS):
            load.wait_for_more(200)
            port = ports[number % len(ports)]
            assert gateways[port].stop() == 0
            gateways[port] = start(port)
    assert load.asked > 200 * _RESTARTS
    assert load.wrong == []
    for gateway in gateways.values():
        gateway.kill()
