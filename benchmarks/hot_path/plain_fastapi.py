"""The check route as one writes it first: FastAPI and redis-py, a call per check. STORE_URL names the store."""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import FastAPI, Query
from redis.asyncio import Redis

from attribute_lists import keys

app = FastAPI()
store = Redis.from_url(os.environ["STORE_URL"])


@app.get("/check-attribute")
async def check_attribute(
    attribute: str, list_id: Annotated[str, Query(alias="listId")], account_id: Annotated[str, Query(alias="accountId")]
) -> bool:
    return bool(await store.sismember(keys.members(account_id, list_id), attribute))
