"""More evaluations at once than are taken: the protocol's 429."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

from fastapi import Response

from gateway.ofrep import MOST_AT_ONCE, Ofrep
from gateway.ofrep_requests import ApiKeys


async def test_more_evaluations_at_once_are_asked_to_come_again() -> None:
    ofrep = Ofrep(cast("Any", None), ApiKeys(None), bulk_exposures=False)
    done = asyncio.Event()

    async def evaluate() -> Response:
        await done.wait()
        return Response(b"{}")

    under_way = [asyncio.create_task(ofrep.limited(evaluate, "flag")) for _ in range(MOST_AT_ONCE)]
    await asyncio.sleep(0)  # they have begun
    refused = await ofrep.limited(evaluate, "flag")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert json.loads(bytes(refused.body)).keys() == {"key", "errorCode", "errorDetails"}
    done.set()
    assert [answer.status_code for answer in await asyncio.gather(*under_way)] == [200] * MOST_AT_ONCE
    assert (await ofrep.limited(evaluate, "flag")).status_code == 200
