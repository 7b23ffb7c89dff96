"""What our HTTP services have in common: the error shape, and the three addresses of operations."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException

from foundation.errors import CohortGatewayError, TooSlowError, UnavailableError
from foundation.no_store import CACHE_CONTROL, NO_STORE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5

_ERROR_HEADERS = {
    UnavailableError.status: {"Retry-After": str(RETRY_AFTER_SECONDS)},
    TooSlowError.status: {"Connection": "close"},
}
_REASONS = {401: "unauthorized", 404: "not_found", 405: "method_not_allowed"}


def error_response(status: int, error: str, reason: str) -> JSONResponse:
    """The one JSON shape of errors: `{"error": "<for people>", "reason": "<metric label>"}`."""
    headers = _ERROR_HEADERS.get(status, {}) | {CACHE_CONTROL: NO_STORE}
    error = error.encode("utf-8", "backslashreplace").decode()  # it may name what holds half a surrogate pair
    return JSONResponse({"error": error, "reason": reason}, status_code=status, headers=headers)


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of `app` in our shape, those of the framework too."""

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, CohortGatewayError)  # noqa: S101 - registered for this type alone
        return error_response(error.status, str(error), error.reason)

    async def of_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type alone
        answer = error_response(error.status_code, str(error.detail), _REASONS.get(error.status_code, "http"))
        answer.headers.update(error.headers or {})
        return answer

    async def of_validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type alone
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in error.errors()
        )
        return error_response(400, problems, "bad_request")

    async def unexpected(request: Request, error: Exception) -> Response:
        # The path only: a query string may hold a user id.
        log.error("unexpected %s at %s %s", type(error).__name__, request.method, request.url.path, exc_info=error)
        return error_response(500, "internal error; the service's log has the details", "internal")

    app.add_exception_handler(CohortGatewayError, ours)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(Exception, unexpected)


def head_as_get(app: ASGIApp) -> ASGIApp:
    """`app`, with HEAD answered wherever GET is, as RFC 9110 wants it; the server leaves the body out."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await app(scope, receive, send)

    return answer


def health_router() -> APIRouter:
    """`GET /healthz`: the process is alive. It asks nobody, so that a sick store restarts no service."""
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return router


def operations_router(
    registry: CollectorRegistry, readiness: Callable[[], Awaitable[tuple[int, dict[str, Any]]]]
) -> APIRouter:
    """`GET /readyz` (status and body from `readiness`) and `GET /metrics` (Prometheus text of `registry`)."""
    router = APIRouter()

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        status, body = await readiness()
        return JSONResponse(body, status_code=status)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
