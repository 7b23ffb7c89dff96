"""Regular expressions that take long for some values: who sends these does not keep others waiting."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.decisions.builders import ROLLOUT, campaign, document, feature
from tests.gateway.conftest import ACCOUNT, Lists
from tests.gateway.deciding import Deciding, deciding
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import StoreServer

PATTERNS = {
    "doubling": "(a+)+$",
    "words": r"^(\w+\s?)+$",
    "same_twice": "(a|a)*$",
    "optional": "^(a?){40}a{40}b",
    "aside": "^(?=(a+)+$)b",
    "reference": r"^(a*)*(\1)+b",
    "dots": "(.*)(.*)(.*)(.*)x",
    "dotted": ".*a.*a.*a.*a.*b",
    "one_look": "(?:a|b)*c",
    "nested_counts": "^(((a{1,1000}){1,1000}){1,1000})$",
    "mail": r"^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$",
    "ordinary": r"^.*@x\.com$",
    "astral": r"^(.+)+\ude00$",
}
DOUBLING = "a" * 28 + "!"  # some seconds for one search
LONG = "a" * 65_536
SLOW = {
    "doubling": DOUBLING,
    "words": "hello there general kenobi how are you today !",
    "same_twice": "a" * 40 + "!",
    "optional": "a" * 60,
    "aside": "a" * 40 + "!",
    "reference": "a" * 40,
    "dots": LONG,
    "dotted": LONG,
    "one_look": LONG,
    "nested_counts": "a" * 60 + "!",
}
MANY = 100


def settings() -> dict[str, Any]:
    segments: dict[str, Any] = {
        key: {"or": [{"custom_variable": {"x": f"regex({pattern})"}}]} for key, pattern in PATTERNS.items()
    }
    segments["many"] = {"or": [{"custom_variable": {"x": f"regex((a+)+({n})?$)"}} for n in range(1, MANY + 1)]}
    segments["agent"] = {"or": [{"ua": "regex((a+)+$)"}]}
    segments["listed"] = {"and": [{"custom_variable": {"y": "inlist(premium)"}}, segments["doubling"]]}
    campaigns = [campaign(ROLLOUT, number, segment) for number, segment in enumerate(segments.values(), 1)]
    features = [feature(number, key, [campaigns[number - 1]]) for number, key in enumerate(segments, 1)]
    return document(features, campaigns)


@pytest.fixture(scope="module")
def gateway(store_server: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    with deciding(tmp_path_factory.mktemp("regexes"), store_server.url, settings()) as running:
        yield running


def body(flag: str, value: str, **more: Any) -> dict[str, Any]:
    return {"featureKey": flag, "userId": "alice", "customVariables": {"x": value}, **more}


def is_on(gateway: Deciding, flag: str, value: str, **more: Any) -> bool:
    answer = gateway.post("/server-side/getFlag", body(flag, value, **more))
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["isEnabled"])


def given_up(gateway: Deciding) -> float:
    return sum(gateway.counted("cohort_gateway_regexes_given_up").values())


def post_of(document: Any) -> bytes:
    content = json.dumps(document).encode()
    head = f"POST /server-side/getFlag HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(content)}\r\nConnection: close"
    return head.encode() + b"\r\n\r\n" + content


def connected(address: str) -> socket.socket:
    parts = urlsplit(address)
    return socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=60)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def children(pid: int) -> list[int]:
    """Processes that `pid` has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_two_hundred_slow_values_keep_nobody_waiting(gateway: Deciding, lists: Lists) -> None:
    """Checks go on, another slow pattern is decided rightly, and the number of processes does not grow."""
    lists.put("premium", "gold")
    before = given_up(gateway)
    check = {"attribute": "gold", "listId": "premium", "accountId": ACCOUNT}

    request = post_of(body("doubling", DOUBLING))
    with contextlib.ExitStack() as stack:
        senders = [stack.enter_context(connected(gateway.program.address)) for _ in range(200)]
        for sender in senders:
            sender.sendall(request)
        waits, others, seen = [], [], set[int]()
        for _ in range(20):
            began = time.monotonic()
            assert gateway.client.get("/check-attribute", params=check).text == "true"
            waits.append(time.monotonic() - began)
            others.append(is_on(gateway, "same_twice", "a" * 40))
            seen.update(children(gateway.program.pid))
        answers = [read_all(sender) for sender in senders]
    assert all(answer.endswith(b'{"isEnabled":false,"variables":[]}') for answer in answers)
    assert max(waits) < 2
    assert sum(others) > len(others) / 2  # all of them, but on a machine that is busy with other things
    assert len(seen) <= 2
    assert given_up(gateway) - before == 200


def test_the_log_names_the_flag_and_not_the_value(gateway: Deciding) -> None:
    for _ in range(3):
        assert not is_on(gateway, "words", SLOW["words"], userId="somebody-in-particular")
    lines = [line for line in gateway.program.log().splitlines() if "'words'" in line]
    assert len(lines) == 1
    assert "regular expressions take more than 50 ms and match nothing" in lines[0]
    assert "kenobi" not in gateway.program.log()
    assert "somebody-in-particular" not in gateway.program.log()


@pytest.mark.parametrize("flag", SLOW)
def test_what_takes_too_long_does_not_match(gateway: Deciding, flag: str) -> None:
    before, began = given_up(gateway), time.monotonic()
    assert not is_on(gateway, flag, SLOW[flag])
    assert time.monotonic() - began < 5
    assert given_up(gateway) - before == 1


@pytest.mark.parametrize(
    ("flag", "value", "matches"),
    [
        ("doubling", "a", True),
        ("doubling", "a" * 60, True),
        ("doubling", "b", False),
        ("words", "hello there general kenobi", True),
        ("optional", "a" * 80 + "b", True),
        ("dots", LONG + "x", True),
        ("dotted", "aaaab" * 30, True),
        ("one_look", "ab" * 3000 + "c", True),
        ("mail", "somebody.with.a.long.name@mail.example.com", True),
        ("mail", "nobody@example", False),
        ("mail", f"{'a' * 3000}@{'b.' * 500}com", True),
        ("ordinary", "alice@x.com", True),
        ("ordinary", "alice@y.com", False),
        ("ordinary", "a" * 100_000 + "@x.com", True),
        ("astral", "ab" * 20 + "😀", True),
        ("astral", "ab" * 20 + "\ude00", True),
        ("astral", "ab😀" * 2 + "\ud83d", False),
    ],
)
def test_what_ends_in_time_is_decided_as_ever(gateway: Deciding, flag: str, value: str, matches: bool) -> None:
    def is_decided() -> bool:  # where the machine is busy with other things, it may take another attempt
        before = given_up(gateway)
        found = is_on(gateway, flag, value)
        if given_up(gateway) > before:
            return False
        assert found is matches
        return True

    until(is_decided)


def test_all_expressions_of_a_request_have_the_time_of_one(gateway: Deciding) -> None:
    before, began = gateway.counted("cohort_gateway_regexes_given_up"), time.monotonic()
    assert not is_on(gateway, "many", DOUBLING)
    assert time.monotonic() - began < 5
    spent = gateway.counted("cohort_gateway_regexes_given_up")["spent"] - before.get("spent", 0)
    assert spent >= MANY - 3


def test_openfeature_and_several_flags(gateway: Deciding, lists: Lists) -> None:
    lists.put("premium", "gold")
    context = {"context": {"targetingKey": "alice", "x": DOUBLING, "y": "gold"}}
    single = gateway.post("/ofrep/v1/evaluate/flags/listed", context).json()
    assert (single["value"], single["reason"]) == (False, "DEFAULT")
    before = given_up(gateway)
    bulk = gateway.post("/ofrep/v1/evaluate/flags", context).json()
    assert {one["key"]: one["value"] for one in bulk["flags"] if ":" not in one["key"]}["doubling"] is False
    assert given_up(gateway) > before
    flags = gateway.post("/server-side/getFlags", {**body("", DOUBLING), "featureKeys": ["doubling", "mail"]}).json()
    assert not any(one["isEnabled"] for one in flags["flags"].values())
    assert not is_on(gateway, "agent", "", userAgent=DOUBLING)
    until(lambda: is_on(gateway, "agent", "", userAgent="a" * 40))


def test_an_explanation_names_the_expression(gateway: Deciding) -> None:
    def explained(value: str) -> tuple[bool, list[str]]:
        found = gateway.as_operator("POST", "/server-side/explain", body("doubling", value)).json()
        return found["isEnabled"], found["regexesGivenUp"]

    assert explained(DOUBLING) == (False, ["(a+)+$"])
    until(lambda: explained("a" * 40) == (True, []))


def test_a_process_that_dies_is_replaced(gateway: Deciding) -> None:
    until(lambda: is_on(gateway, "doubling", "a" * 40))
    for child in children(gateway.program.pid):
        os.kill(child, signal.SIGKILL)
    until(lambda: is_on(gateway, "doubling", "a" * 40))


def test_each_of_several_workers_has_processes_of_its_own(store_url: str, tmp_path: Path) -> None:
    with deciding(tmp_path, store_url, settings(), WORKERS="2") as gateway:
        assert not is_on(gateway, "doubling", DOUBLING)
        until(lambda: is_on(gateway, "doubling", "a" * 40))
        workers = children(gateway.program.pid)
        started = [child for worker in workers for child in children(worker)]
        assert started
        gateway.program.stop()
        until(lambda: not any(map(is_running, started)))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_no_process_is_left_behind(store_url: str, tmp_path: Path, end: str) -> None:
    with deciding(tmp_path, store_url, settings()) as gateway:
        assert not is_on(gateway, "one_look", LONG)
        started = children(gateway.program.pid)
        assert started
        getattr(gateway.program, end)()
        until(lambda: not any(map(is_running, started)))
