"""The routes of the Heap connection: what operators call on the administration, what Heap's browser calls in public."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from attribute_lists.names import checked_account
from cohort_sync.connect_flow import ConnectFlow, log_refusal
from cohort_sync.connect_pages import PRIVATE_HEADERS, page
from cohort_sync.oauth import CALLBACK_PATH, HeapFailedError
from foundation.errors import BadRequestError, CohortGatewayError

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams


def connection_admin_router(flow: ConnectFlow, *, default_account: str) -> APIRouter:
    """`/connect/heap` and `/admin/api/v1/connections`. Include it behind the check of the admin token.

    Raises the store's errors, for the handlers of the application.
    """
    router = APIRouter()

    @router.get("/connect/heap", status_code=303, response_class=Response)
    async def connect(request: Request, account: str | None = None) -> Response:
        """A redirect to Heap's page; with `Accept: application/json` its address, for a command line to show."""
        address = await flow.start(checked_account(default_account if account is None else account))
        if "application/json" in request.headers.get("accept", "").lower():
            return JSONResponse({"authorize_url": address}, headers=PRIVATE_HEADERS)
        return Response(status_code=303, headers=PRIVATE_HEADERS | {"Location": address})

    @router.get("/admin/api/v1/connections")
    async def get_connections() -> dict[str, Any]:
        return {"connections": [asdict(connection) for connection in await flow.connections.list()]}

    @router.delete("/admin/api/v1/connections/{account}")
    async def disconnect(account: str) -> dict[str, str]:
        """Pushes with the account's id token are refused from now on; its lists stay."""
        return {"account": account, "env_id": await flow.disconnect(checked_account(account))}

    return router


def callback_router(flow: ConnectFlow) -> APIRouter:
    """`/connect/heap/callback`, for the public application. Every answer is a page for people."""
    router = APIRouter()

    @router.get(CALLBACK_PATH, response_class=Response)
    async def callback(request: Request) -> Response:
        try:
            state, code, error = (_one(request.query_params, name) for name in ("state", "code", "error"))
            account, env_id = await flow.finish(state=state, code=code, error=error)
        except CohortGatewayError as refusal:
            log_refusal(refusal)
            return page(refusal.status, "Not connected", f"{_sentence(str(refusal))}", *_advice(refusal))
        return page(
            200,
            "Connected",
            f"Account {account} is connected to the Heap environment {env_id}.",
            "You can close this page and choose segments to sync in Heap.",
        )

    return router


def _one(query: QueryParams, name: str) -> str:
    """The value of a parameter, empty where it is absent. Given twice it could mean two things to two readers."""
    values = query.getlist(name)
    if len(values) > 1:
        raise BadRequestError(f"{name} came more than once; start again", reason="bad_state")
    return values[0] if values else ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _advice(refusal: CohortGatewayError) -> tuple[str, ...]:
    if not isinstance(refusal, HeapFailedError):
        return ()
    return ("Each link serves once: to try again, start again with cohort-sync connect.",)
