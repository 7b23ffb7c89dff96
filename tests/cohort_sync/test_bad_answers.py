"""Whatever Heap answers to OAuth, cohort-sync stays small, takes pushes meanwhile, and says what was wrong.

And whatever answers in place of cohort-sync, its command comes to an end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from cohort_sync.oauth import HeapFailedError, HeapOAuth
from tests.support import bad_servers, http, processes
from tests.support.bad_servers import HEAD, bad_server, dripping
from tests.support.beside import unharmed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bad_servers import Behaviour

TOKEN = "admin-token-of-the-tests"

BAD: dict[str, tuple[Behaviour, str]] = {
    "compressed": (bad_servers.gzip_bomb, "Heap answered, but its answer is compressed"),
    "endless": (bad_servers.endless, "Heap answered, but its answer has more than 65,536 bytes"),
    "endless head": (bad_servers.endless_head, "Heap answered, but the head of its answer is too large"),
    "blanks": (bad_servers.blanks, "Heap did not answer: it can&#x27;t be reached"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_heap_that_answers_oauth_badly_is_told_to_who_connects(tmp_path: Path, store_url: str, kind: str) -> None:
    behave, said = BAD[kind]
    with bad_server(behave) as heap:
        settings = {
            "REDIS_URL": store_url,
            "ADMIN_TOKEN": TOKEN,
            "HEAP_BASE": heap,
            "HEAP_CLIENT_ID": "id",
            "HEAP_CLIENT_SECRET": "secret",
            "PUBLIC_URL": "http://127.0.0.1:9",
        }
        with processes.cohort_sync(tmp_path, settings) as program:
            processes.wait_until_recovered(program)
            public, admin = program.addresses
            started = http.get(f"{admin}/connect/heap?account=7", headers={"Authorization": f"Bearer {TOKEN}"})
            state = parse_qs(urlsplit(started.headers["location"]).query)["state"][0]
            with unharmed(program):
                answer = http.get(f"{public}/connect/heap/callback", params={"code": "abc", "state": state})
            assert answer.status_code == 502
            assert said in answer.text


@pytest.mark.parametrize("text", [HEAD % 1000, b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 103 Hints\r\n\r\n" * 1000])
async def test_a_heap_that_drips_is_given_up(text: bytes) -> None:
    with bad_server(dripping(text, 0.01)) as address:
        oauth = HeapOAuth(base=address, client_id="id", client_secret="secret", public_url="http://x", timeout=0.5)
        with pytest.raises(HeapFailedError, match=r"within 0\.5 seconds"):
            await oauth.authorization("abc")


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (bad_servers.gzip_bomb, "compressed"),
        (bad_servers.endless, "more than 67,108,864 bytes"),
        (bad_servers.blanks, "can't be reached"),
        (bad_servers.page, "no cohort-sync answers at"),
    ],
    ids=["compressed", "endless", "blanks", "a page"],
)
def test_the_command_comes_to_an_end_and_says_why(tmp_path: Path, behave: Behaviour, said: str) -> None:
    with bad_server(behave) as address:
        settings = {"COHORT_SYNC_ADMIN_PORT": address.rpartition(":")[2], "ADMIN_TOKEN": TOKEN, "ACCOUNT_ID": "7"}
        command = ["cohort_sync", "segments", "set", "list", "--mode", "delta"]
        done = processes.run_program(command, settings, directory=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert TOKEN not in done.stderr
