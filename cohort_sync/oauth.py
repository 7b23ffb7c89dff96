"""Heap's side of OAuth: where to send the browser, and what Heap gives for the code that it comes back with.

The addresses and fields are those of Heap's partner API reference (`/api/partner/oauth`, `/api/partner/v1/metadata`).
No code, state or token is ever part of an error or a log line.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from foundation import http_client
from foundation.errors import BadRequestError, CohortGatewayError, NoAnswerError, UnavailableError
from foundation.http_client import HttpClient

if TYPE_CHECKING:
    from cohort_sync.settings import CohortSyncSettings
    from foundation.http_client import Answer

CALLBACK_PATH = "/connect/heap/callback"
TIMEOUT_SECONDS = 10.0

_LONGEST_ANSWER = 64 * 1024  # bytes; what Heap documents has a few hundred
_LONGEST_TEXT = 256
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")  # what a header and a path can carry
_REFUSED = (400, 401)


class HeapFailedError(CohortGatewayError):
    """Heap gave no answer, or none that can be used. Nothing was changed here."""

    status = 502
    reason = "heap_failed"


@dataclass(frozen=True, slots=True)
class Authorization:
    """What a customer granted. The texts of Heap's metadata are for people; absent ones are empty."""

    env_id: str
    id_token: str = field(repr=False)
    access_token: str = field(repr=False)
    partner_app_id: str = ""
    authorized_by: str = ""
    authorized_scope: str = ""
    authorized_at: str = ""


class HeapOAuth:
    """Our registration with Heap. `timeout`: seconds for all that one authorization takes."""

    def __init__(
        self, *, base: str, client_id: str, client_secret: str, public_url: str, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self._base = base
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = public_url + CALLBACK_PATH
        self._timeout = timeout

    @classmethod
    def from_settings(cls, settings: CohortSyncSettings, *, timeout: float = TIMEOUT_SECONDS) -> HeapOAuth:
        """Raises `UnavailableError` naming the variables that are not set."""
        client_id, client_secret, public_url = (
            settings.heap_client_id,
            settings.heap_client_secret,
            settings.public_url,
        )
        if client_id is None or client_secret is None or public_url is None:
            names = ("heap_client_id", "heap_client_secret", "public_url")
            missing = ", ".join(name.upper() for name in names if getattr(settings, name) is None)
            raise UnavailableError(
                f"connecting Heap is not set up: set {missing} and start cohort-sync again", reason="not_configured"
            )
        return cls(
            base=settings.heap_base,
            client_id=client_id,
            client_secret=client_secret,
            public_url=public_url,
            timeout=timeout,
        )

    def authorize_url(self, state: str) -> str:
        """Where the customer's browser goes to grant access."""
        query = {
            "client_id": self._client_id,
            "state": state,
            "response_type": "code",
            "redirect_uri": self._redirect_uri,
            "scope": "segment",
        }
        return f"{self._base}/api/partner/oauth/authorize?{urlencode(query)}"

    async def authorization(self, code: str) -> Authorization:
        """What Heap gives for `code`, which serves once.

        Raises `BadRequestError` when Heap refuses the code, `HeapFailedError` for all else.
        """
        try:
            async with asyncio.timeout(self._timeout), HttpClient(silence=self._timeout, whole=None) as client:
                tokens = await self._tokens(client, code)
                return await self._described(client, *tokens)
        except (TimeoutError, NoAnswerError) as error:
            raise self._failed(error) from None

    def _failed(self, error: TimeoutError | NoAnswerError) -> HeapFailedError:
        if isinstance(error, TimeoutError) or error.reason == http_client.TIMEOUT:
            return HeapFailedError(
                f"Heap did not answer within {self._timeout:g} seconds; try again", reason="heap_slow"
            )
        if error.reason in http_client.UNUSABLE:
            return HeapFailedError(f"Heap answered, but {error}", reason="heap_unusable")
        return HeapFailedError(f"Heap did not answer: {error}; try again")

    async def _tokens(self, client: HttpClient, code: str) -> tuple[str, str]:
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "client_id": self._client_id,
            "client_secret": self._client_secret,
        }
        address = f"{self._base}/api/partner/oauth/token"
        answer = await client.request("POST", address, most=_LONGEST_ANSWER, json=body)
        if answer.status in _REFUSED:
            raise BadRequestError(
                "Heap refused the code: it serves once and for a short time; start again. If that happens each time, "
                "compare HEAP_CLIENT_ID, HEAP_CLIENT_SECRET and PUBLIC_URL with what Heap registered",
                reason="bad_code",
            )
        given = _object(answer, "token")
        kind = given.get("token_type", "bearer")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise _unusable("token", "a token_type other than bearer")
        return _token(given, "access_token"), _token(given, "id_token")

    async def _described(self, client: HttpClient, access_token: str, id_token: str) -> Authorization:
        address = f"{self._base}/api/partner/v1/metadata/{quote(id_token, safe='')}"
        headers = {"Authorization": f"Bearer {access_token}"}
        metadata = _object(await client.request("GET", address, most=_LONGEST_ANSWER, headers=headers), "metadata")
        env_id = _shown(metadata.get("env_id"))
        if not env_id:
            raise _unusable("metadata", "no env_id")
        return Authorization(
            env_id=env_id,
            id_token=id_token,
            access_token=access_token,
            partner_app_id=_shown(metadata.get("partner_app_id")),
            authorized_by=_shown(metadata.get("authorized_by")),
            authorized_scope=_shown(metadata.get("authorized_scope")),
            authorized_at=_shown(metadata.get("authorized_at_utc")),
        )


def _object(answer: Answer, what: str) -> dict[str, Any]:
    if answer.status != HTTPStatus.OK:
        raise HeapFailedError(f"Heap answered {answer.status} to the {what} request; try again")
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise _unusable(what, "something that is not JSON") from None
    if not isinstance(found, dict):
        raise _unusable(what, "something that is not an object")
    return found


def _token(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or _TOKEN.fullmatch(value) is None:
        raise _unusable("token", f"no usable {name}")
    return value


def _shown(value: Any) -> str:
    """A text to keep and show; what can't be one is empty."""
    if isinstance(value, list):
        value = " ".join(part for part in value if isinstance(part, str))
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 2**63 else ""
    return value if isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST_TEXT else ""


def _unusable(what: str, found: str) -> HeapFailedError:
    return HeapFailedError(f"Heap answered the {what} request with {found}", reason="heap_unusable")
