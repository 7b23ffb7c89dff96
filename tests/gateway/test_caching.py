"""What caches are told: no answer outlives what it says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.gateway.conftest import ACCOUNT, Lists
from tests.gateway.deciding import TOKEN
from tests.support import http, processes
from tests.support.ports import free_ports
from tests.support.waiting import until
from tests.support.web_servers import NGINX_IS_READY, installed, nginx_command, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    import redis

    from tests.support.processes import Program, StoreServer

LIST = "heap_premium_users"
CHECK = f"/check-attribute?attribute=alice&listId={LIST}&accountId={ACCOUNT}"
OFREP = "/ofrep/v1/evaluate/flags"
FLAG = {"featureKey": "premium_dashboard", "userId": "user-1"}
CONTEXT = {"context": {"targetingKey": "user-1"}}
NOT_STORED: dict[str, Any] = {  # and the bodies of those that are posted
    CHECK: None,
    "/check-attribute": None,
    "/get-user-details?userAgent=Mozilla/5.0": None,
    f"/user-alias/getAliasUserId?accountId={ACCOUNT}&userId=tmp": None,
    f"/user-alias/setUserAlias?accountId={ACCOUNT}": {"userId": "user-1", "aliasId": "tmp"},
    "/events/t": {"d": {"event": {"name": "bought", "props": {}}}},
    "/server-side/batch-events-v2": {"ev": []},
    "/server-side/getFlag": FLAG,
    "/server-side/getFlags": FLAG,
    "/server-side/trackEvent": {"eventName": "nothing"} | FLAG,
    "/server-side/setAttribute": {"attributeKey": "plan", "attributeValue": "gold"} | FLAG,
    "/server-side/explain": FLAG,
    f"{OFREP}/premium_dashboard": CONTEXT,
    "/admin/api/v1/lists": None,
    "/healthz": None,
    "/readyz": None,
    "/metrics": None,
}
_ALONE = (OFREP, "/admin", "/server-side/explain", "/healthz", "/readyz", "/metrics")
PREFIXED = tuple(path for path in NOT_STORED if not path.startswith(_ALONE))
REFUSED: dict[str, tuple[int, Any]] = {
    "/server-side/getFlag": (400, {}),
    f"{OFREP}/nothing": (404, CONTEXT),
    OFREP: (400, {}),
    "/server-side/v2-settings?a=999": (400, None),
    "/user-alias/getAliasUserId": (400, None),
    "/nothing": (404, None),
    "/events/t": (405, None),
}


@pytest.fixture(scope="module", params=["", "with CORS and exposures"])
def gateway(
    request: pytest.FixtureRequest, emptied_store: StoreServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    settings = {"REDIS_URL": emptied_store.url, "ADMIN_TOKEN": TOKEN}
    if request.param:
        settings |= {"CORS_CONFIG_REQUIRED": "true", "EXPORT_EXPOSURES": "true"}
    with processes.gateway(tmp_path_factory.mktemp("gateway"), settings) as program:
        yield program


def ask(address: str, path: str, body: Any, **headers: str) -> httpx.Response:
    method = "GET" if body is None else "POST"
    content = None if body is None else json.dumps(body).encode()
    return http.request(method, address + path, content=content, headers={"Authorization": f"Bearer {TOKEN}"} | headers)


def told(answer: httpx.Response) -> list[str]:
    return answer.headers.get_list("Cache-Control")


@pytest.mark.parametrize("path", NOT_STORED)
def test_what_holds_for_the_moment_is_not_stored(gateway: Program, path: str) -> None:
    for prefix in ("", "/as01") if path in PREFIXED else ("",):
        for headers in ({}, {"X-Route": "plain"}, {"Origin": "https://www.example.com"}):
            answer = ask(gateway.address, prefix + path, NOT_STORED[path], **headers)
            assert (answer.status_code, told(answer)) == (200, ["no-store"]), (prefix, headers)


@pytest.mark.parametrize("path", REFUSED)
def test_no_refusal_is_stored(gateway: Program, path: str) -> None:
    status, body = REFUSED[path]
    answer = ask(gateway.address, path, body)
    assert (answer.status_code, told(answer)) == (status, ["no-store"])


@pytest.mark.parametrize("path", ["/server-side/v2-settings", "/as01/server-side/v2-settings", "/server-side/v2-pull"])
def test_settings_may_be_kept_and_are_asked_for_each_time(gateway: Program, path: str) -> None:
    for headers in ({}, {"Origin": "https://www.example.com"}):
        answer = ask(gateway.address, f"{path}?a={ACCOUNT}&i=sample_sdk_key", None, **headers)
        assert (answer.status_code, told(answer)) == (200, ["no-cache"])


def test_all_flags_of_a_user_are_kept_by_who_asked_alone(gateway: Program) -> None:
    """With the ETag a provider asks again; 304 says of caches what 200 would (RFC 9110, 15.4.5)."""
    first = ask(gateway.address, OFREP, CONTEXT)
    assert (first.status_code, told(first)) == (200, ["private, no-cache"])
    again = ask(gateway.address, OFREP, CONTEXT, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, told(again)) == (304, ["private, no-cache"])
    assert again.headers["ETag"] == first.headers["ETag"]


@pytest.fixture
def cache(gateway: Program, tmp_path: Path) -> Iterator[str]:
    """The address of an nginx in front that keeps whatever it may, by the address alone, for ten minutes."""
    nginx = installed("nginx", what_is_not_tried="a cache")
    [port] = free_ports(1)
    command = nginx_command(
        nginx,
        tmp_path,
        f"""
        proxy_cache_path {tmp_path}/kept keys_zone=kept:1m;
        access_log off;
        server {{
            listen 127.0.0.1:{port};
            location / {{
                proxy_pass http://127.0.0.1:{urlsplit(gateway.address).port};
                proxy_cache kept;
                proxy_cache_key $request_method$request_uri;
                proxy_cache_methods GET HEAD POST;
                proxy_cache_valid any 10m;
                add_header X-Cache $upstream_cache_status always;
            }}
        }}""",
    )
    with running_server(command, tmp_path) as said:
        until(lambda: any(NGINX_IS_READY in line for line in said), what="nginx to serve")
        yield f"http://127.0.0.1:{port}"


def test_a_cache_in_front_knows_nobody_longer_than_the_list(cache: str, store: redis.Redis) -> None:
    lists = Lists(store)
    lists.put(LIST, "bob")
    assert ask(cache, CHECK, None).text == "false"
    lists.put(LIST, "alice")
    assert ask(cache, CHECK, None).text == "true"
    store.srem(f"cg:{{{ACCOUNT}:{LIST}}}:members", "alice")
    assert ask(cache, CHECK, None).text == "false"


def test_a_cache_in_front_keeps_nothing_of_anybody(cache: str) -> None:
    asked = [*NOT_STORED.items(), *((path, body) for path, (_, body) in REFUSED.items()), (OFREP, CONTEXT)]
    for path, body in asked * 2:
        assert ask(cache, path, body).headers["X-Cache"] == "MISS", path
