"""What becomes of a connection where Heap says no, nothing or nonsense."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cohort_sync.heap_connection.conftest import ACCOUNT, Installation, assert_refused

if TYPE_CHECKING:
    from tests.support.fake_heap_oauth import FakeHeap


def test_denied(installation: Installation, heap: FakeHeap) -> None:
    heap.deny = True
    address = installation.authorized()
    assert_refused(installation.come_back(address), 403, "Access was denied")
    assert_refused(installation.come_back(address), 400, "used already")
    assert installation.connections() == {}


def test_other_errors_of_heap_are_not_repeated(installation: Installation) -> None:
    for error in ("server_error", "<script>alert(1)</script>"):
        address = installation.authorized().replace("code=", "ignored=") + f"&error={error}"
        answer = installation.come_back(address)
        assert_refused(answer, 502, "Heap reported an error")
        assert error not in answer.text


def test_a_missing_code(installation: Installation) -> None:
    address = installation.authorized().replace("code=", "ignored=")
    assert_refused(installation.come_back(address), 400, "no usable code")


def test_a_code_that_heap_refuses(installation: Installation, heap: FakeHeap) -> None:
    address = installation.authorized()
    heap.codes.clear()
    assert_refused(installation.come_back(address), 400, "Heap refused the code")
    assert installation.connections() == {}


def test_a_client_secret_that_heap_refuses(installation: Installation, heap: FakeHeap) -> None:
    heap.token_answer = (401, b'{"error":"invalid_client"}')
    assert_refused(installation.connect(), 400, "HEAP_CLIENT_SECRET")


@pytest.mark.parametrize("patience", [0.3])
def test_a_slow_heap(installation: Installation, heap: FakeHeap) -> None:
    heap.slow = True
    address = installation.authorized()
    answer = installation.come_back(address)
    assert_refused(answer, 502, "did not answer within 0.3 seconds")
    assert "start again with cohort-sync connect" in answer.text
    assert_refused(installation.come_back(address), 400, "used already")


ANSWER = {"access_token": "a", "id_token": "i", "token_type": "bearer"}
BAD_TOKENS: list[tuple[int, bytes]] = [
    (500, b"<h1>oops</h1>"),
    (503, b""),
    (302, b""),
    (403, b"{}"),
    (429, b"{}"),
    (200, b""),
    (200, b"not json"),
    (200, b"[]"),
    (200, b"\xff\xfe"),
    (200, b"[" * 60_000),
    (200, b" " * 100_000),
    (200, b"{}"),
    *[
        (200, json.dumps(ANSWER | change).encode())
        for change in (
            {"access_token": 1},
            {"access_token": "a\r\nX: y"},
            {"id_token": ""},
            {"id_token": "\u00e9"},
            {"id_token": "i" * 5000},
            {"token_type": "mac"},
            {"token_type": None},
        )
    ],
]


def test_a_useless_answer_to_the_code(installation: Installation, heap: FakeHeap) -> None:
    for heap.token_answer in BAD_TOKENS:
        assert_refused(installation.connect(), 502, "Heap answered")
    assert installation.connections() == {}
    assert installation.journal == []


BAD_METADATA: list[tuple[int, bytes]] = [
    (500, b""),
    (401, b"{}"),
    (200, b""),
    (200, b"[]"),
    (200, b"{}"),
    (200, b'{"env_id":null}'),
    (200, b'{"env_id":""}'),
    (200, b'{"env_id":true}'),
    (200, b'{"env_id":{}}'),
    (200, b'{"env_id":"a\\u0000"}'),
    (200, json.dumps({"env_id": "e" * 300}).encode()),
]


def test_useless_metadata(installation: Installation, heap: FakeHeap) -> None:
    for heap.metadata_answer in BAD_METADATA:
        assert_refused(installation.connect(), 502, "metadata")
    assert installation.connections() == {}


def test_metadata_that_says_the_least_and_something_nasty(installation: Installation, heap: FakeHeap) -> None:
    heap.metadata_answer = (200, b'{"env_id":"<script>","authorized_by":{"x":1},"authorized_scope":3.5}')
    answer = installation.connect()
    assert answer.status_code == 200
    assert "<script>" not in answer.text
    assert installation.connections() == {ACCOUNT: "<script>"}


def test_a_number_for_an_environment(installation: Installation, heap: FakeHeap) -> None:
    heap.env_id = 4711
    installation.connect()
    assert installation.connections() == {ACCOUNT: "4711"}


def test_id_tokens_become_one_segment_of_the_path(installation: Installation, heap: FakeHeap) -> None:
    heap.id_token = "../../../admin?x=/#"
    assert_refused(installation.connect(), 502, "metadata")
    assert heap.calls[-1] == "GET /api/partner/v1/metadata"


@pytest.mark.parametrize("overrides", [{"heap_base": "http://127.0.0.1:9"}])
def test_heap_can_not_be_reached(installation: Installation) -> None:
    started = installation.start()
    state = parse_qs(urlsplit(started.headers["location"]).query)["state"][0]
    answer = installation.come_back(f"{installation.public}/connect/heap/callback?code=abc&state={state}")
    assert_refused(answer, 502, "can&#x27;t be reached")
