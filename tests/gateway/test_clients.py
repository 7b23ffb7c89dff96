"""Clients that hang up, say no more, don't read, or are too many: they get what can be given, the others all of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from foundation.settings import MEBIBYTE
from tests.gateway.conftest import Lists
from tests.gateway.http_cases import CHECK, LAST, LIST, MEMBER, READY, request
from tests.support import processes
from tests.support.raw_http import (
    Answer,
    bystander,
    connection,
    hang_up,
    is_closed,
    read_all,
    read_answer,
    split_answers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.processes import Program, StoreServer

_LONGEST_PIPELINE = 24 * 1024 * 1024  # bytes; more than the buffers of both ends
_SMALL_BUFFER = 32 * 1024  # bytes
_CHANCES = 200


@pytest.fixture(scope="module")
def own_store() -> Iterator[StoreServer]:
    """A store that the tests may hold still."""
    with processes.running_store() as server:
        with server.client() as client:
            Lists(client).put(LIST, MEMBER)
        yield server


@pytest.fixture(scope="module")
def gateway(own_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with processes.gateway(tmp_path_factory.mktemp("gateway"), {"REDIS_URL": own_store.url}) as program:
        with bystander(program.address) as turn:
            turn()  # it listens before it is all there
        yield program


def connections_made(store: StoreServer) -> int:
    with store.client() as client:
        return int(client.info("stats")["total_connections_received"])


def states(answers: list[Answer]) -> list[str]:
    assert all(answer.status == 200 for answer in answers)
    assert all((answer.body == b"true") == (answer.headers["x-membership"] in ("in", "stale_in")) for answer in answers)
    return [answer.headers["x-membership"] for answer in answers]


def one_after_another(attempt: Callable[[], list[str]], wanted: list[str], *, times: int = 20) -> None:
    """Some attempt has the states `wanted`; on a busy machine, checks that wait may miss the store's deadline."""
    seen = []
    for _ in range(times):
        found = attempt()
        if found == wanted:
            return
        seen.append(found)
    pytest.fail(f"{times} times something else: {seen}")


@pytest.mark.parametrize("leave", [hang_up, socket.socket.close], ids=["reset", "closed"])
def test_who_hangs_up_takes_nobody_along(
    gateway: Program, own_store: StoreServer, leave: Callable[[socket.socket], None]
) -> None:
    """The checks of others, in flight on the same connection to the store before and after, are answered."""

    def attempt() -> list[str]:
        with contextlib.ExitStack() as stack:
            turn = stack.enter_context(bystander(gateway.address))
            peers = [stack.enter_context(connection(gateway.address)) for _ in range(9)]
            leaving, staying = peers[1::3], [peer for number, peer in enumerate(peers) if number % 3 != 1]
            with own_store.held_still():
                for peer in peers:
                    peer.sendall(CHECK * 2)
                turn()
                for peer in leaving:
                    leave(peer)
                turn()
            answers = [read_answers(peer, 2) for peer in staying]
        return [state for found in answers for state in states(found)]

    one_after_another(attempt, ["in"] * 12)  # whatever connections it wants are open now
    before = connections_made(own_store)
    one_after_another(attempt, ["in"] * 12)
    assert connections_made(own_store) == before + 1  # that of the question itself


def read_answers(peer: socket.socket, count: int) -> list[Answer]:
    received = b""
    while True:
        with contextlib.suppress(ValueError):
            answers = split_answers(received)
            if len(answers) >= count:
                return answers
        chunk = peer.recv(65536)
        assert chunk, received
        received += chunk


@pytest.mark.parametrize("sent", [CHECK, CHECK * 5, CHECK + READY + CHECK, READY])
def test_who_says_no_more_gets_whole_answers_or_none(gateway: Program, sent: bytes) -> None:
    """Uvicorn closes a connection whose client has closed its side; what is not written by then is lost."""
    count = sent.count(b" HTTP/1.1\r\n")
    for _ in range(20):
        with connection(gateway.address) as peer:
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
            answers = split_answers(read_all(peer))
        assert len(answers) <= count
        assert all(answer.status == 200 for answer in answers)


def test_who_says_no_more_within_a_request_gets_nothing(gateway: Program) -> None:
    for at in range(1, len(CHECK)):
        with connection(gateway.address) as peer:
            peer.sendall(CHECK[:at])
            peer.shutdown(socket.SHUT_WR)
            assert all(answer.status == 400 for answer in split_answers(read_all(peer)))


def test_who_does_not_read_is_not_read_any_more(gateway: Program) -> None:
    """Answers that nobody takes don't pile up; once they are taken, no check's is missing.

    uvicorn queues what isn't for the fast path, so who sends too much of that is cut off.
    """
    with bystander(gateway.address) as turn, connection(gateway.address) as peer:
        for kind in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # what lies here is only work for later
            peer.setsockopt(socket.SOL_SOCKET, kind, _SMALL_BUFFER)
        turn()
        before = gateway.resident
        asked = send_until_stuck(peer, CHECK, turn)
        assert asked < _LONGEST_PIPELINE
        assert gateway.resident - before < 32 * MEBIBYTE
        begun = asked % len(CHECK)
        rest = (CHECK[begun:] if begun else b"") + LAST
        peer.settimeout(60)
        sending = threading.Thread(target=send_on, args=(peer, rest))
        sending.start()
        answers = split_answers(read_all(peer))
        sending.join()
    assert len(answers) == -(-asked // len(CHECK)) + 1
    assert {answer.status for answer in answers[:-1]} <= {200}


def send_on(peer: socket.socket, rest: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        peer.sendall(rest)


def send_until_stuck(peer: socket.socket, sent: bytes, turn: Callable[[], None]) -> int:
    """Send `sent` again and again until the server, with every chance to read, does not; the bytes that went."""
    peer.settimeout(0)
    many, total, idle = sent * 1000, 0, 0
    while total < _LONGEST_PIPELINE and idle < _CHANCES:
        try:
            total += peer.send(many[total % len(sent) :])
            idle = 0
        except BlockingIOError:
            idle += 1
            turn()
        except ConnectionError:
            break
    return total


def test_beyond_the_limit_of_connections_one_is_refused_at_once(own_store: StoreServer, tmp_path: Path) -> None:
    settings = {"REDIS_URL": own_store.url, "CONNECTIONS": "4"}
    with processes.gateway(tmp_path, settings) as program, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(connection(program.address)) for _ in range(4)]
        for peer in peers:  # the server counts them when it has read from them
            peer.sendall(CHECK)
            assert states(read_answers(peer, 1)) == ["in"]
        for _ in range(10):
            with connection(program.address) as one_more:
                one_more.sendall(CHECK)
                answers = split_answers(read_all(one_more))
            assert [answer.status for answer in answers] == [503]
        for peer in peers:
            peer.sendall(CHECK)
            assert states(read_answers(peer, 1)) == ["in"]
        hang_up(peers.pop())

        def there_is_room() -> list[str]:
            with connection(program.address) as instead:
                instead.sendall(request(b"Connection: close"))
                return [str(answer.status) for answer in split_answers(read_all(instead))]

        one_after_another(there_is_room, ["200"])


def test_a_check_under_way_is_answered_before_the_end(own_store: StoreServer, tmp_path: Path) -> None:
    with processes.gateway(tmp_path, {"REDIS_URL": own_store.url}) as program:
        with connection(program.address) as peer, connection(program.address) as idle:
            idle.sendall(CHECK)
            read_answer(idle)
            with bystander(program.address) as turn, own_store.held_still():
                peer.sendall(CHECK)
                turn()
                program.process.terminate()
                # An idle connection is closed as soon as the end begins.
                assert is_closed(idle)
            answers = split_answers(read_all(peer))
        assert len(states(answers)) == 1
        assert program.wait() == 0
