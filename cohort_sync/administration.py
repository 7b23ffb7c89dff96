"""The administration: an application of its own, for operators with the token."""

from __future__ import annotations

import hmac
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field

from attribute_lists.describe import ListDescription, describe_lists
from attribute_lists.names import checked_account
from foundation.errors import NotFoundError, UnauthorizedError, UnavailableError
from foundation.store import STORE_ERRORS
from foundation.web import error_response, health_router, install_error_handlers, operations_router

if TYPE_CHECKING:
    from fastapi import Response

    from cohort_sync.receiver import Receiver


class ListChange(BaseModel):
    """What an operator may set on a list; a field that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    aliases: list[str] | None = Field(default=None, max_length=100)


def create_administration_app(receiver: Receiver) -> FastAPI:
    """`/admin/api/v1/...` behind the token; `/healthz`, `/readyz` and `/metrics` open, since the port is private."""
    app = FastAPI(title="Cohort Gateway: administration", docs_url=None, redoc_url=None)
    install_error_handlers(app)
    for kind in STORE_ERRORS:
        app.add_exception_handler(kind, _store_away)

    async def readiness() -> tuple[int, dict[str, Any]]:
        try:
            await receiver.store.execute_command("PING")
        except STORE_ERRORS:
            return 200, {"status": "degraded", "reasons": ["the store is away"]}
        return 200, {"status": "ok"}

    app.include_router(health_router())
    app.include_router(operations_router(receiver.metrics.registry, readiness))
    app.include_router(_lists_router(receiver), dependencies=[Depends(_token_wanted(receiver.admin_token))])
    return app


def _lists_router(receiver: Receiver) -> APIRouter:
    router = APIRouter(prefix="/admin/api/v1")

    async def described() -> list[ListDescription]:
        return await describe_lists(receiver.store, stale_after=receiver.settings.stale_after)

    async def one(account: str, list_id: str) -> ListDescription:
        for description in await described():
            if (description.account, description.list_id) == (account, list_id):
                return description
        raise NotFoundError(f"account {account} has no list {list_id}", reason="unknown_list")

    @router.get("/lists")
    async def get_lists() -> dict[str, Any]:
        return {"lists": [asdict(description) for description in await described()]}

    @router.get("/lists/{account}/{name}")
    async def get_list(account: str, name: str) -> dict[str, Any]:
        list_id = await receiver.definitions.resolve(checked_account(account), name)
        return asdict(await one(account, list_id))

    @router.patch("/lists/{account}/{name}")
    async def change_list(account: str, name: str, change: ListChange) -> dict[str, Any]:
        list_id = await receiver.definitions.resolve(checked_account(account), name)
        if change.aliases is not None:
            await receiver.definitions.set_aliases(account, list_id, change.aliases)
        return asdict(await one(account, list_id))

    return router


def _token_wanted(token: str) -> Any:
    wanted = token.encode()

    async def check(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Bytes, since compare_digest refuses text beyond ASCII.
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), wanted):
            raise UnauthorizedError("send Authorization: Bearer <ADMIN_TOKEN>; it is in DATA_DIR/admin_token")

    return check


async def _store_away(_: Request, __: Exception) -> Response:
    return error_response(UnavailableError.status, "the store is away; try again later", "store_away")
