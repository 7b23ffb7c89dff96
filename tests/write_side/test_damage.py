"""What breaks beside the receiver, and must neither go unnoticed nor cost an acknowledged change."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from attribute_lists import keys
from tests.support.processes import StartError
from tests.support.waiting import until
from tests.write_side.sides import either_side, fails_on_files
from tests.write_side.sites import ACCOUNT, LIST, A, B, check, list_path, running_site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import redis

    from tests.write_side.sides import WriteSide
    from tests.write_side.sites import Site

_SECRETS = ("admin_token", "webhook_secret", "erasure_key", "receiver_id")


def _delete(key: Callable[[str, str], str], client: redis.Redis, list_id: str) -> None:
    client.delete(key(ACCOUNT, list_id))


def _replace(key: Callable[[str, str], str], client: redis.Redis, list_id: str) -> None:
    client.set(key(ACCOUNT, list_id), "somebody else's")


def _lose_a_member(client: redis.Redis, list_id: str) -> None:
    client.srem(keys.members(ACCOUNT, list_id), "b")


def _gain_a_member(client: redis.Redis, list_id: str) -> None:
    client.sadd(keys.members(ACCOUNT, list_id), "stranger")


DAMAGES: dict[str, Callable[[redis.Redis, str], None]] = {
    "members deleted": partial(_delete, keys.members),
    "members replaced": partial(_replace, keys.members),
    "members evicted": partial(_delete, keys.members),  # and a page brings some of them back
    "description deleted": partial(_delete, keys.about),
    "description replaced": partial(_replace, keys.about),
    "a member lost": _lose_a_member,
    "a member gained": _gain_a_member,
}


@dataclass
class Damaged:
    """A site some of whose lists were damaged, when the time is over by which that must be mended."""

    site: Site
    gateway: str

    def wrong(self, damage: str) -> list[str]:
        """What is still wrong with the list that suffered it."""
        list_id, wanted = _list(damage), _wanted(damage)
        found = {who: check(self.gateway, who, list_id) for who in [*wanted, "stranger"]}
        return [f"{who}: {state}" for who, state in found.items() if state != ("in" if who in wanted else "not_in")]


def _list(damage: str) -> str:
    return f"heap_{damage.replace(' ', '_')}"


def _wanted(damage: str) -> list[str]:
    return ["a", "b", "c", *(["d"] if damage == "members evicted" else [])]


@pytest.fixture(scope="module")
def damaged_sites() -> Iterator[Callable[[WriteSide], Damaged]]:
    """One for each write side: all damages are mended, or not, while one waits once."""
    with contextlib.ExitStack() as stack:
        made: dict[str, Damaged] = {}

        def damaged(side: WriteSide) -> Damaged:
            if side.name not in made:
                site = stack.enter_context(running_site(side))
                made[side.name] = Damaged(site, stack.enter_context(site.gateway()))
                _damage(made[side.name])
            return made[side.name]

        yield damaged


def _damage(damaged: Damaged) -> None:
    site = damaged.site
    segments: dict[str, dict[str, Any]] = {
        damage: {"segment_id": number, "name": damage} for number, damage in enumerate(DAMAGES, start=1)
    }
    for segment in segments.values():
        site.push(add=["a", "b", "c"], **segment)
    with site.store.client() as client:
        for damage, inflict in DAMAGES.items():
            inflict(client, _list(damage))
    site.heap.sync(add=["d"], **segments["members evicted"])
    with contextlib.suppress(AssertionError):
        until(lambda: not any(map(damaged.wrong, DAMAGES)), seconds=site.side.patience)


@pytest.mark.parametrize("damage", DAMAGES)
@fails_on_files("the loss of one key goes unnoticed")
def test_a_damaged_list_is_mended(damaged_sites: Callable[[WriteSide], Damaged], side: WriteSide, damage: str) -> None:
    damaged = damaged_sites(side)
    assert damaged.wrong(damage) == []


@fails_on_files("the loss of the registry goes unnoticed")
def test_a_damaged_registry_is_mended(site: Site) -> None:
    site.push(add=["a"], **A)
    site.operate("PATCH", list_path("heap_a"), {"aliases": ["vwo:1"]})
    with site.gateway() as gateway, site.store.client() as client:
        until(lambda: check(gateway, "a", "vwo:1") == "in", what="the gateway to know the alias")
        client.delete(keys.REGISTRY_LISTS)
        client.set(keys.REGISTRY_ALIASES, "somebody else's")
        site.push(add=["b"], **A)
        with site.gateway() as fresh:  # knows what the store says and nothing else
            until(
                lambda: all(check(fresh, who, name) == "in" for who in "ab" for name in ("heap_a", "vwo:1")),
                seconds=site.side.patience,
                what="a gateway that starts now to know list and alias",
            )
        assert check(gateway, "b", "vwo:1") == "in"
    assert site.lists()["heap_a"]["aliases"] == ["vwo:1"]


@either_side
def test_restoring_takes_nothing_from_lists_that_are_whole(site: Site) -> None:
    site.push(add=["a"], **A)
    site.push(add=["b"], **B)
    site.checkpoint()
    late = [f"late-{number}" for number in range(20)]
    for who in late:
        site.push(add=[who], **A)
    with site.gateway() as gateway, site.store.client() as client:
        until(lambda: check(gateway, late[-1], "heap_a") == "in", what="the gateway to know the list")
        seen: set[str] = set()
        ended = threading.Event()

        def look() -> None:
            while not ended.is_set():
                seen.add(check(gateway, late[-1], "heap_a"))

        looking = threading.Thread(target=look)
        looking.start()
        try:
            client.delete(keys.REGISTRY_IDENTITY, keys.members(ACCOUNT, "heap_b"), keys.about(ACCOUNT, "heap_b"))
            site.settles("heap_b", {"b"}, broken=True)
            site.wait_until_ready()
        finally:
            ended.set()
            looking.join()
    assert seen <= {"in", "stale_in"}
    assert site.members("heap_a") == {"a", *late}


@either_side
def test_a_receiver_without_its_files_leaves_the_lists_of_the_store_alone(site: Site) -> None:
    site.push(add=["a", "b"], age=60)
    site.settles(LIST, {"a", "b"})
    with site.gateway() as gateway:
        until(lambda: check(gateway, "a", LIST) == "in", what="the gateway to know the list")
        with site.receiver_away():
            shutil.rmtree(site.data)
        site.push(add=["c"], remove=["b"])
        until(lambda: check(gateway, "c", LIST) == "in", seconds=site.side.patience, what="what is pushed to be there")
        assert {who: check(gateway, who, LIST) for who in "ab"} == {"a": "in", "b": "not_in"}


@either_side
def test_files_that_are_older_than_the_store_take_nothing_from_its_lists(site: Site) -> None:
    """As where a backup is put back; and what comes afterwards is in the lists, too."""
    site.push(add=["a"], **A)
    site.push(add=["b"], **B)
    with site.receiver_away():
        shutil.copytree(site.data, site.data.with_name("backup"))
    site.push(add=["late"], **A)
    site.settles("heap_a", {"a", "late"})
    with site.gateway() as gateway:
        until(lambda: check(gateway, "late", "heap_a") == "in", what="the gateway to know the list")
        with site.receiver_away():
            shutil.rmtree(site.data)
            site.data.with_name("backup").rename(site.data)
        site.push(add=["later"], **A)
        site.push(add=["later"], **B)
        wanted = {"heap_a": ("a", "late", "later"), "heap_b": ("b", "later")}

        def all_are_in() -> bool:
            return all(check(gateway, who, name) == "in" for name, people in wanted.items() for who in people)

        until(all_are_in, seconds=site.side.patience, what="everybody to be in")


@pytest.mark.slow
@fails_on_files("nobody compares members")
def test_one_member_in_the_place_of_another_is_found_in_time(site: Site) -> None:
    site.push(add=["a", "b"])
    site.settles(LIST, {"a", "b"})
    with site.store.client() as client:
        _lose_a_member(client, LIST)
        _gain_a_member(client, LIST)
    until(lambda: site.members(LIST) == {"a", "b"}, seconds=6 * site.side.patience, what="the stranger to be found")


def _remove(path: Path) -> None:
    path.unlink()


def _put_another_in_its_place(path: Path) -> None:
    copy = path.with_name(f"{path.name}.copy")
    shutil.copyfile(path, copy)
    copy.rename(path)


def _truncate(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("lose", [_remove, _put_another_in_its_place, _truncate])
@fails_on_files("what is written to a file that is gone counts as written")
def test_no_push_is_acknowledged_without_the_files_that_keep_it(site: Site, lose: Callable[[Path], None]) -> None:
    site.push(add=["a"])
    with site.gateway() as gateway:
        until(lambda: check(gateway, "a", LIST) == "in", what="the gateway to know the list")
        for path in _files(site.data):
            lose(path)
        answers = [site.heap.sync(add=[f"b{number}"]).status_code for number in range(3)]
        assert 200 not in answers
        assert site.reasons()
        assert check(gateway, "a", LIST) == "in"


@fails_on_files("what can't be read is found when it is needed")
def test_damaged_files_are_said_and_checks_go_on(site: Site) -> None:
    people = [f"person-{number}" for number in range(2000)]
    for number in range(20):
        site.push(add=people[100 * number : 100 * number + 100], age=60)
    with site.gateway() as gateway:
        until(lambda: check(gateway, people[-1], LIST) == "in", what="the gateway to know the list")
        site.kill_receiver()
        for path in _files(site.data):
            _damage_middle(path)
        try:
            site.start_receiver()
        except StartError as error:
            assert "damaged" in str(error)  # noqa: PT017 - to refuse to start is one way to say it
        else:
            with contextlib.suppress(AssertionError):  # whether it is taken is not what this is about
                site.push(add=["new"])
            until(lambda: bool(site.reasons()), seconds=site.side.patience, what="the damage to be said")
        for _ in range(20):
            assert check(gateway, people[0], LIST) == "in"


def _damage_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        damaged = bytes(byte ^ 0x55 for byte in file.read(512))
        file.seek(-len(damaged), os.SEEK_CUR)
        file.write(damaged)


@either_side
def test_a_disk_that_takes_nothing_refuses_pushes_until_it_does(site: Site) -> None:
    site.push(add=["a"])
    with site.gateway() as gateway:
        until(lambda: check(gateway, "a", LIST) == "in", what="the gateway to know the list")
        resource.prlimit(site.receiver.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        refused = site.heap.sync(add=["b"])
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        assert site.reasons()
        assert check(gateway, "a", LIST) == "in"
        resource.prlimit(site.receiver.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        site.push(add=["c"])
        site.wait_until_ready()
    assert site.members(LIST) - {"b"} == {"a", "c"}  # "b" may have been written before its answer failed


@fails_on_files("pushes wait for the store")
def test_pushes_are_taken_while_the_store_is_away_and_in_order_when_it_is_back(site: Site) -> None:
    site.push(add=["a", "b"], age=60)
    site.store.kill()
    answers = [site.heap.sync(remove=["a"], task="one", age=20), site.heap.sync(add=["a", "c"], task="two", age=30)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert {answer.headers.get("X-Projection") for answer in answers} == {"behind"}
    assert any("behind" in reason for reason in site.reasons())
    site.store.start()
    site.settles(LIST, {"b", "c"}, broken=True)
    site.wait_until_ready()


@fails_on_files("pushes wait until everything is built again")
def test_pushes_are_taken_while_a_lost_store_is_built_again(site: Site) -> None:
    segments: list[dict[str, Any]] = [{"segment_id": number, "name": f"Many {number}"} for number in range(1, 61)]
    for segment in segments:
        site.push(add=["a", "b"], **segment)
    site.lose_store()
    answers = {site.heap.sync(add=["c"], remove=["a"], **segment).status_code for segment in segments}
    assert answers == {200}
    for segment in segments:
        site.settles(f"heap_many_{segment['segment_id']}", {"b", "c"}, broken=True)


@fails_on_files("each replay is written to the journal")
def test_replays_of_a_known_page_write_nothing(site: Site) -> None:
    people = [f"person-{number}@example.com" for number in range(5000)]
    site.push(add=people, task="one", age=60)
    site.settles(LIST, set(people))
    written = _bytes_written(site)
    for _ in range(20):
        site.push(add=people, task="one", age=60)
    assert _bytes_written(site) - written < 50_000  # what the receiver writes anyway, now and then; a page has 150,000


def _bytes_written(site: Site) -> int:
    with site.store.client() as client:
        log: Any = client.info("persistence")
    return int(log["aof_current_size"]) + sum(path.stat().st_size for path in _files(site.data))


def _files(directory: Path) -> list[Path]:
    """What a write side keeps, whatever it is: neither secrets nor locks nor what is shared memory in truth."""
    found = (path for path in directory.rglob("*") if path.is_file() and path.name not in _SECRETS)
    return [path for path in found if "lock" not in path.name and not path.name.endswith("-shm")]
