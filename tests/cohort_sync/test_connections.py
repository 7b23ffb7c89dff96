"""The table of connections, in a real store."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from cohort_sync.connections import Connections
from cohort_sync.oauth import Authorization
from cohort_sync.sealing import Sealer, UnsealError
from foundation.errors import BadRequestError, ConflictError, ForbiddenError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ONE, TWO = "111111", "222222"


def granted(env_id: str = "env_1", *, turn: int = 1) -> Authorization:
    return Authorization(
        env_id=env_id,
        id_token=f"id-{env_id}-{turn}",
        access_token=f"access-{env_id}-{turn}",
        authorized_by="grace@example.com",
    )


@pytest.fixture
async def client(store_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(store_url) as client:
        yield client


@pytest.fixture
def connections(client: Redis) -> Connections:
    return Connections(client, Sealer("the key of the tests"))


async def account_of_push(connections: Connections, id_token: str | None, *, complete: bool = True) -> str:
    return await connections.account_of_push(id_token, default="default", complete=lambda: complete)


async def envs(connections: Connections) -> dict[str, str]:
    return {connection.account: connection.env_id for connection in await connections.list()}


async def test_an_id_token_selects_its_account(connections: Connections) -> None:
    await connections.connect(ONE, granted("env_1"))
    await connections.connect(TWO, granted("env_2"))
    assert await account_of_push(connections, "id-env_1-1") == ONE
    assert await account_of_push(connections, "id-env_2-1") == TWO
    assert await account_of_push(connections, None) == "default"
    for unknown in ("", "id-env_3-1", "\ud800", "id-env_1-1 "):
        with pytest.raises(ForbiddenError, match=r"^Invalid id_token$"):
            await account_of_push(connections, unknown)
    assert await connections.access_token(TWO) == "access-env_2-1"


async def test_an_unknown_id_token_waits_while_the_table_may_be_incomplete(
    connections: Connections, client: Redis
) -> None:
    with pytest.raises(UnavailableError):
        await account_of_push(connections, "id-env_1-1", complete=False)
    await connections.connect(ONE, granted())
    assert await account_of_push(connections, "id-env_1-1", complete=False) == ONE
    assert await account_of_push(connections, None, complete=False) == "default"
    await client.flushall()
    # Nobody has noticed yet that the store was emptied, but this table is known to have had rows.
    with pytest.raises(UnavailableError):
        await account_of_push(connections, "id-env_1-1", complete=True)


async def test_one_environment_an_account_and_one_account_an_environment(connections: Connections) -> None:
    await connections.connect(ONE, granted("env_1"))
    with pytest.raises(ConflictError, match=r"environment env_1.*disconnect it first") as refused:
        await connections.connect(ONE, granted("env_2"))
    assert refused.value.reason == "second_environment"
    with pytest.raises(ConflictError, match=r"belongs to account 111111") as refused:
        await connections.connect(TWO, granted("env_1", turn=2))
    assert refused.value.reason == "environment_taken"
    assert await envs(connections) == {ONE: "env_1"}
    await connections.disconnect(ONE)
    await connections.connect(TWO, granted("env_1", turn=2))
    await connections.connect(ONE, granted("env_2"))
    assert await envs(connections) == {ONE: "env_2", TWO: "env_1"}


async def test_authorizing_again_renews_the_tokens(connections: Connections) -> None:
    await connections.connect(ONE, granted(turn=1))
    same = Authorization(env_id="env_1", id_token="id-env_1-1", access_token="access-env_1-2")
    await connections.connect(ONE, same)
    assert await connections.account_of("id-env_1-1") == ONE
    assert await connections.access_token(ONE) == "access-env_1-2"
    await connections.connect(ONE, granted(turn=3))
    assert await connections.account_of("id-env_1-1") is None
    assert await connections.account_of("id-env_1-3") == ONE


async def test_a_disconnection_forgets_the_tokens_and_may_be_repeated(connections: Connections, client: Redis) -> None:
    with pytest.raises(NotFoundError):
        await connections.disconnect(ONE)
    connected = await connections.connect(ONE, granted())
    ended = await connections.disconnect(ONE)
    assert await connections.disconnect(ONE) == ended
    assert await connections.list() == []
    with pytest.raises(ForbiddenError):
        await account_of_push(connections, "id-env_1-1")
    with pytest.raises(NotFoundError):
        await connections.access_token(ONE)
    kept = json.dumps([ended, str(await client.hgetall("cg:{connections}:by-account"))])
    assert connected["sealed_token"] not in kept
    assert connected["id_token_tag"] not in kept


async def test_of_clashing_connections_at_the_same_time_one_wins(connections: Connections) -> None:
    attempts = [connections.connect(f"account{number}", granted(turn=number)) for number in range(8)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(result, dict) for result in results) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 7
    assert len(await connections.list()) == 1


async def history(connections: Connections) -> list[dict[str, Any]]:
    return [
        await connections.connect(ONE, granted("env_1", turn=1)),
        await connections.connect(ONE, granted("env_1", turn=2)),
        await connections.disconnect(ONE),
        await connections.connect(TWO, granted("env_1", turn=3)),
        await connections.connect(ONE, granted("env_2", turn=4)),
    ]


async def test_records_give_the_same_table_in_any_order_and_number(connections: Connections, client: Redis) -> None:
    records = await history(connections)
    exported = await connections.export()
    wanted = {"id-env_1-1": None, "id-env_1-2": None, "id-env_1-3": TWO, "id-env_2-4": ONE}
    for order in itertools.permutations(records):
        await client.flushall()
        for record in (*order, *order[:2]):
            await connections.apply_record(json.loads(json.dumps(record)))
        assert await connections.export() == exported
        assert {id_token: await connections.account_of(id_token) for id_token in wanted} == wanted
    await client.flushall()
    await connections.restore(exported)
    assert await connections.export() == exported
    assert await envs(connections) == {ONE: "env_2", TWO: "env_1"}


async def test_a_record_that_comes_back_late_does_not_undo_a_disconnection(
    connections: Connections, client: Redis
) -> None:
    before = await connections.connect(ONE, granted("env_1", turn=1))
    await client.flushall()
    # The disconnection of ONE was lost with the store, so TWO could connect; then an old journal turns up.
    await connections.connect(TWO, granted("env_1", turn=2))
    await connections.apply_record(before)
    assert await envs(connections) == {TWO: "env_1"}
    await connections.disconnect(ONE)
    assert await envs(connections) == {TWO: "env_1"}, "a superseded connection has no say in the environment"
    await connections.disconnect(TWO)
    assert await envs(connections) == {}


async def test_a_clock_that_goes_back_changes_nothing(connections: Connections) -> None:
    ahead = connections.connection_record(ONE, granted(), at=99_999_999_999_999)
    await connections.apply_record(ahead)
    await connections.disconnect(ONE)
    await connections.connect(TWO, granted(turn=2))
    assert await envs(connections) == {TWO: "env_1"}


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"format": None}, {"account": "a:b"}, {"at": "1"}, {"extra": "x"}, {"connected": 1}, {"id": None}],
)
async def test_a_strange_record_is_refused(connections: Connections, change: dict[str, Any]) -> None:
    record = connections.connection_record(ONE, granted(), at=1)
    with pytest.raises(BadRequestError):
        await connections.apply_record(record | change)
    del record["env_id"]
    with pytest.raises(BadRequestError):
        await connections.apply_record(record)
    assert await connections.export() == []


async def test_nothing_secret_is_in_records_or_in_the_store(connections: Connections, client: Redis) -> None:
    records = await history(connections)
    seen = json.dumps([records, await connections.export(), [str(row) for row in await connections.list()]])
    seen += repr([await client.hgetall(key) for key in await client.keys("*by-*")])
    for record in range(1, 5):
        for env in ("env_1", "env_2"):
            assert f"id-{env}-{record}" not in seen
            assert f"access-{env}-{record}" not in seen
    assert "id-env" not in repr(granted())
    assert "access-env" not in repr(granted())


async def test_another_sealing_key_is_noticed(connections: Connections, client: Redis) -> None:
    await connections.connect(ONE, granted())
    other = Connections(client, Sealer("another key"))
    # Not 403: Heap's push is right, this installation lacks the key to see it.
    with pytest.raises(UnavailableError, match=r"111111.*sealing_key") as refused:
        await account_of_push(other, "id-env_1-1")
    assert refused.value.reason == "other_sealing_key"
    with pytest.raises(UnavailableError, match="sealing_key"):
        await other.access_token(ONE)
    assert [connection.usable for connection in await other.list()] == [False]
    await other.connect(ONE, granted(turn=2))
    assert await account_of_push(other, "id-env_1-2") == ONE
    with pytest.raises(ForbiddenError):
        await account_of_push(other, "id-env_1-1")


def test_a_seal_opens_with_its_key_for_its_purpose_alone() -> None:
    sealer = Sealer("a key")
    sealed = sealer.seal("tökén", purpose="a")
    assert sealed != sealer.seal("tökén", purpose="a")
    assert Sealer("a key").unseal(sealed, purpose="a") == "tökén"
    for other, text, purpose in (
        (Sealer("b key"), sealed, "a"),
        (sealer, sealed, "b"),
        (sealer, sealed[:-3], "a"),
        (sealer, "", "a"),
        (sealer, "ü", "a"),
    ):
        with pytest.raises(UnsealError):
            other.unseal(text, purpose=purpose)
