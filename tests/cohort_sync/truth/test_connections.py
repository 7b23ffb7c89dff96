"""Connections of accounts to environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from cohort_sync.truth.tables import CONNECTIONS, INSTALLATION
from foundation.errors import BadRequestError, ConflictError, NotFoundError
from tests.cohort_sync.truth.facts_in_tests import opened

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cohort_sync.truth.facts_in_tests import Written


async def connect(written: Written, account: str, env_id: str, id_token: str) -> None:
    await written.facts.connect(account, env_id=env_id, id_token=id_token, detail={"by": "ann"}, actor="me")


async def test_the_account_of_an_id_token(tmp_path: Path) -> None:
    async with opened(tmp_path) as written:
        await connect(written, "1", "env1", "token1")
        await connect(written, "2", "env2", "token2")
        assert written.facts.account_of("token1") == "1"
        assert written.facts.account_of("token3") is None
        assert written.facts.account_of("\ud800") is None
        await connect(written, "1", "env1", "token3")
        assert written.facts.account_of("token1") is None
        assert written.facts.account_of("token3") == "1"
    async with opened(tmp_path) as written:
        assert written.facts.account_of("token3") == "1"
        ended = await written.facts.disconnect("1", actor="me")
        assert ended.env_id == "env1"
        assert written.facts.account_of("token3") is None
        assert [known.account for known in await written.facts.connections()] == ["2"]
        with pytest.raises(NotFoundError):
            await written.facts.disconnect("1", actor="me")


async def test_one_environment_an_account_and_one_account_an_environment(written: Written) -> None:
    await connect(written, "1", "env1", "token1")
    for account, env_id, id_token in (("1", "env2", "token2"), ("2", "env1", "token2"), ("2", "env2", "token1")):
        with pytest.raises(ConflictError):
            await connect(written, account, env_id, id_token)
    with pytest.raises(BadRequestError):
        await connect(written, "a b", "env3", "token3")
    assert [known.env_id for known in await written.facts.connections()] == ["env1"]


async def test_no_token_is_kept_in_clear_and_the_registry_counts_the_change(written: Written) -> None:
    await connect(written, "1", "env1", "a-token-in-clear")
    assert "a-token-in-clear" not in str(await written.rows(select(CONNECTIONS)))
    assert await written.rows(select(INSTALLATION.c.registry)) == [(1,)]
