"""Browsers on pages of other sites."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gateway.conftest import Answer, Wire
from tests.support import processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.conftest import Lists
    from tests.support.processes import Program, StoreServer

SITE = "https://www.example.com"
CHECK = "/check-attribute?attribute=alice&listId=a_list&accountId=123456"
SENT = "X-Device-User-Agent, VWO-X-Forwarded-For, Authorization"


@pytest.fixture(scope="module")
def open_gateway(store_server: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    directory = tmp_path_factory.mktemp("gateway")
    settings = {"REDIS_URL": store_server.url, "CORS_CONFIG_REQUIRED": "true"}
    with processes.gateway(directory, settings) as program:
        yield program


def ask(program: Program, target: str, *headers: str, method: str = "GET") -> Answer:
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", "Connection: close", *headers, "", ""]
    return Wire(program.address).send("\r\n".join(lines).encode())


@pytest.mark.parametrize("route", [[], ["X-Route: plain"]])
def test_a_check_from_a_page_gets_the_headers_and_the_same_answer(
    open_gateway: Program, lists: Lists, route: list[str]
) -> None:
    lists.put("a_list", "alice")
    without = ask(open_gateway, CHECK, *route)
    answer = ask(open_gateway, CHECK, f"Origin: {SITE}", *route)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "X-Membership" in answer.headers["access-control-expose-headers"]
    assert (answer.status, answer.body, answer.state) == (without.status, without.body, without.state)
    assert (answer.body, answer.state) == (b"true", "in")
    assert "access-control-allow-origin" not in without.headers


def test_a_kept_connection_gets_them_for_each_request_of_a_page(open_gateway: Program, lists: Lists) -> None:
    lists.put("a_list", "alice")
    plain = f"GET {CHECK} HTTP/1.1\r\nHost: gateway\r\n\r\n"
    of_a_page = plain.replace("\r\n\r\n", f"\r\nOrigin: {SITE}\r\n\r\n")
    last = of_a_page.replace("Host: gateway", "Host: gateway\r\nConnection: close")
    raw = Wire(open_gateway.address).send((plain + of_a_page + plain + last).encode())
    everything = b"\r\n".join([str(raw.headers).encode(), raw.body]).lower()
    assert everything.count(b"true") == 4
    assert everything.count(b"access-control-allow-origin") == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/server-side/v2-settings"),
        ("GET", "/get-user-details"),
        ("GET", "/user-alias/getAliasUserId?userId=x"),
        ("GET", "/user-alias/getAliasUserId"),
        ("POST", "/server-side/batch-events-v2"),
        ("GET", "/nothing-here"),
    ],
)
def test_every_answer_may_be_read_errors_too(open_gateway: Program, method: str, path: str) -> None:
    answer = ask(open_gateway, path, f"Origin: {SITE}", "Content-Length: 0", method=method)
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/check-attribute", "/events/t", "/server-side/getFlag", "/as01/server-side/getFlag"])
def test_a_browser_that_asks_first_may_send_what_sdks_send(open_gateway: Program, path: str) -> None:
    asked = [f"Origin: {SITE}", "Access-Control-Request-Method: POST", f"Access-Control-Request-Headers: {SENT}"]
    answer = ask(open_gateway, path, *asked, method="OPTIONS")
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert all(name.lower() in allowed for name in SENT.split(", "))
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers


def test_the_danger_is_told_at_the_start(open_gateway: Program) -> None:
    ask(open_gateway, "/healthz")
    assert "everybody else who reaches this gateway" in open_gateway.log()


def test_only_the_sites_that_are_named_may_ask(tmp_path: Path, store_url: str, lists: Lists) -> None:
    lists.put("a_list", "alice")
    settings = {
        "REDIS_URL": store_url,
        "CORS_CONFIG_REQUIRED": "true",
        "CORS_ORIGINS": f"{SITE}, http://localhost:3000",
    }
    with processes.gateway(tmp_path, settings) as program:
        for site in (SITE, "http://localhost:3000"):
            answer = ask(program, CHECK, f"Origin: {site}")
            assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (site, "Origin")
        other = ask(program, CHECK, "Origin: https://elsewhere.example")
        assert (other.status, other.body) == (200, b"true")
        assert "access-control-allow-origin" not in other.headers


def test_without_the_setting_no_page_may_ask(gateway: Program, lists: Lists) -> None:
    lists.put("a_list", "alice")
    for path in (CHECK, "/get-user-details"):
        answer = ask(gateway, path, f"Origin: {SITE}")
        assert answer.status == 200
        assert "access-control-allow-origin" not in answer.headers
    asked = [f"Origin: {SITE}", "Access-Control-Request-Method: GET"]
    assert ask(gateway, CHECK, *asked, method="OPTIONS").status == 405


def test_a_site_with_a_path_is_refused(tmp_path: Path) -> None:
    settings = {"CORS_CONFIG_REQUIRED": "true", "CORS_ORIGINS": f"{SITE}/shop", "PORT": "0"}
    program = processes.start_program(["gateway"], settings, directory=tmp_path)
    assert "CORS_ORIGINS" in program.wait_for_line("^error: ")
    assert program.wait() == 2
