"""VWO itself, as far as flag settings go."""

from __future__ import annotations

import asyncio
import random
from typing import NamedTuple

import httpx

from foundation.settings import MEBIBYTE

_FETCH_SECONDS = 30.0  # for a whole answer
_LARGEST = 32 * MEBIBYTE
_LONGEST_WAIT = 600.0  # that VWO may ask for
_POLLED, _PULLED = "/server-side/v2-settings", "/server-side/v2-pull"
# What the settings are made for: the format that the newest SDKs read, which is what older ones get as well.
_FOR = {"platform": "server", "sn": "vwo-fme-node-sdk", "sv": "1.35.0", "api-version": "1", "s": "prod"}
_BUSY = frozenset((408, 425, 429))


class UpstreamError(Exception):
    """No settings from VWO; the message is for people. `is_refusal`: it does not know the account or the SDK key.

    `wait`: seconds after which VWO wants to be asked again.
    """

    def __init__(self, message: str, *, is_refusal: bool = False, wait: float = 0.0) -> None:
        super().__init__(message)
        self.is_refusal = is_refusal
        self.wait = wait


class Fetched(NamedTuple):
    body: bytes
    etag: str | None


class Upstream:
    """Asks VWO at `base`. `patience`: seconds for which it may be silent. A process needs one; `aclose` ends it."""

    def __init__(self, base: str, *, patience: float) -> None:
        self._base = base
        self._patience = patience
        self._client: httpx.AsyncClient | None = None  # made at first use: it loads the system's certificates

    async def fetch(self, account: str, sdk_key: str, *, etag: str | None, pulled: bool) -> Fetched | None:
        """What VWO says now; None: still what had this `etag`. Raises `UpstreamError`."""
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self._patience)
        parameters = {"i": sdk_key, "r": str(random.random()), "a": account, **_FOR}  # noqa: S311 - against caches
        headers = {} if etag is None else {"If-None-Match": etag}
        url = self._base + (_PULLED if pulled else _POLLED)
        try:
            async with (
                asyncio.timeout(_FETCH_SECONDS),
                self._client.stream("GET", url, params=parameters, headers=headers) as answer,
            ):
                if answer.status_code == httpx.codes.NOT_MODIFIED and etag is not None:
                    return None
                if answer.status_code != httpx.codes.OK:
                    raise _refused(answer)
                return Fetched(await _whole(answer), answer.headers.get("ETag"))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            # Its own words may hold the URL, and so the SDK key.
            raise UpstreamError(_explain(error)) from error

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()


async def _whole(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > _LARGEST:
            raise UpstreamError(f"its answer is larger than {_LARGEST // MEBIBYTE} MiB")
    return bytes(body)


def _refused(answer: httpx.Response) -> UpstreamError:
    status = answer.status_code
    if httpx.codes.is_client_error(status) and status not in _BUSY:
        said = f"it answered {status}; check the account id and the SDK key"
        return UpstreamError(said, is_refusal=True)
    wait = answer.headers.get("Retry-After", "")
    return UpstreamError(f"it answered {status}", wait=min(float(wait), _LONGEST_WAIT) if wait.isdigit() else 0.0)


def _explain(error: Exception) -> str:
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return "no answer in time"
    if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
        return "it can't be reached; check VWO_BASE_URL, the network, and HTTPS_PROXY where there is a proxy"
    return f"the connection failed ({type(error).__name__})"
