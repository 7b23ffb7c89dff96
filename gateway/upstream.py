"""VWO itself, as far as flag settings go."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, NamedTuple

import httpx

from foundation import http_client
from foundation.errors import NoAnswerError
from foundation.http_client import HttpClient, seconds_to_wait
from foundation.settings import MEBIBYTE
from gateway.flag_settings import BadSettingsError

if TYPE_CHECKING:
    from foundation.http_client import Incoming

_FETCH_SECONDS = 30.0  # for a whole answer
_LARGEST = 16 * MEBIBYTE  # some thousand flags with all their rules; an SDK reads all of it at its start
_LONGEST_WAIT = 600.0  # that VWO may ask for
_POLLED, _PULLED = "/server-side/v2-settings", "/server-side/v2-pull"
# What the settings are made for: the format that the newest SDKs read, which is what older ones get as well.
_FOR = {"platform": "server", "sn": "vwo-fme-node-sdk", "sv": "1.35.0", "api-version": "1", "s": "prod"}
_BUSY = frozenset((408, 425, 429))
_ETAG = re.compile(r"[\x21-\x7e]{1,256}")  # what a header can carry back


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
        self._client = HttpClient(silence=patience, whole=_FETCH_SECONDS)

    async def fetch(self, account: str, sdk_key: str, *, etag: str | None, pulled: bool) -> Fetched | None:
        """What VWO says now; None: still what had this `etag`.

        Raises `UpstreamError`, and `BadSettingsError` for an answer that is too large or compressed.
        """
        parameters = {"i": sdk_key, "r": str(random.random()), "a": account, **_FOR}  # noqa: S311 - against caches
        headers = {} if etag is None else {"If-None-Match": etag}
        url = self._base + (_PULLED if pulled else _POLLED)
        try:
            async with self._client.stream("GET", url, params=parameters, headers=headers) as answer:
                if answer.status == httpx.codes.NOT_MODIFIED and etag is not None:
                    return None
                if answer.status != httpx.codes.OK:
                    raise _refused(answer)
                return Fetched(await answer.read(_LARGEST), _etag_of(answer))
        except NoAnswerError as error:
            if error.reason in http_client.UNUSABLE:
                raise BadSettingsError(str(error)) from error
            hint = "; check VWO_BASE_URL, the network, and HTTPS_PROXY where there is a proxy"
            is_away = error.reason == http_client.UNREACHABLE
            raise UpstreamError(f"{error}{hint if is_away else ''}") from error

    async def aclose(self) -> None:
        await self._client.aclose()


def _etag_of(answer: Incoming) -> str | None:
    etag = answer.headers.get("ETag", "")
    return etag if _ETAG.fullmatch(etag) else None


def _refused(answer: Incoming) -> UpstreamError:
    status = answer.status
    if httpx.codes.is_client_error(status) and status not in _BUSY:
        said = f"it answered {status}; check the account id and the SDK key"
        return UpstreamError(said, is_refusal=True)
    return UpstreamError(f"it answered {status}", wait=min(seconds_to_wait(answer.headers), _LONGEST_WAIT))
