"""Flag settings as SDKs start with them: what they must hold, who serves them, and the two addresses for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import APIRouter, Request, Response

from attribute_lists.names import is_account
from foundation.errors import UnavailableError
from foundation.json import utf8
from foundation.no_store import CACHE_CONTROL, REVALIDATED
from gateway import large_json
from gateway.decisions_description import error_responses
from published.campaigns import id_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractAsyncContextManager

POLLED = "/server-side/v2-settings"
MOST_VALUES = 1_000_000  # in settings, by their commas: each takes some 100 bytes of memory

_OPENAPI: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": "query", "description": described, "schema": {"type": "string"}}
        for name, described in (
            ("a", "account whose settings are asked for"),
            ("i", "SDK key of the environment"),
        )
    ]
}
_ERRORS = error_responses({400: "no such account or SDK key", 503: "there are no settings yet"})


class BadSettingsError(ValueError):
    """What should be flag settings can't be served; the message names the field."""


class _Shape(msgspec.Struct, rename="camel"):
    """What every SDK needs to find in settings; VWO sends `{}` where there are no features or campaigns."""

    account_id: int | str
    version: int | float | str
    features: list[msgspec.Raw] | dict[str, msgspec.Raw]
    campaigns: list[msgspec.Raw] | dict[str, msgspec.Raw]
    sdk_key: str | None = None
    usage_stats_account_id: Any = None


_shape_of = msgspec.json.Decoder(_Shape).decode
_fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class FlagSettings:
    """Settings of one environment; `body` is what SDKs get. Newer ones are another object.

    `usage_account`: where SDKs send statistics of their use, if that is told.
    """

    account: str
    sdk_key: str | None
    body: bytes
    usage_account: str | None = None

    @property
    def accounts(self) -> list[str]:
        """Those that SDKs with these settings send events of."""
        return [self.account] if self.usage_account is None else [self.account, self.usage_account]


def parse_flag_settings(raw: bytes) -> FlagSettings:
    """What VWO answers at `/server-side/v2-settings`, but for `collectionPrefix`. Raises `BadSettingsError`.

    It is for threads: large settings take a while.
    """
    if raw.count(b",") >= MOST_VALUES:
        raise BadSettingsError(f"it holds more than {MOST_VALUES:,} values")
    try:
        text = utf8(raw)
        shape = _shape_of(text)
        fields = _fields_of(text)
        for field in fields.values():
            large_json.check(field)
    except (ValueError, RecursionError) as error:
        raise BadSettingsError(str(error)) from error
    for name, found in (("features", shape.features), ("campaigns", shape.campaigns)):
        for number, one in enumerate(found if isinstance(found, list) else ()):
            if bytes(memoryview(one)[:1]) != b"{":
                raise BadSettingsError(f"$.{name}[{number}]: it must be an object")
    account = str(shape.account_id)
    if not is_account(account):
        raise BadSettingsError("accountId is no account id; it must be the number of a VWO account")
    # SDKs would put it in front of the paths that they ask us for.
    fields.pop("collectionPrefix", None)
    usage_account = id_text(shape.usage_stats_account_id) or None
    return FlagSettings(account, shape.sdk_key, msgspec.json.encode(fields), usage_account)


class ServedSettings(ABC):
    """The settings being served, wherever they come from."""

    def __init__(self) -> None:
        self.when_changed: list[Callable[[], None]] = []  # called when they, or their accounts, are others

    @property
    def configured_accounts(self) -> Collection[str]:
        """The accounts that settings are fetched for, those without any yet among them."""
        return ()

    @property
    @abstractmethod
    def account(self) -> str | None:
        """The account of those who name none, where there is only one."""

    @abstractmethod
    def account_of(self, sdk_key: str | None) -> str | None:
        """The account that `sdk_key` belongs to, where that is known."""

    @abstractmethod
    async def settings_for(self, account: str | None, sdk_key: str | None) -> FlagSettings:
        """The last good ones, as far as this process knows.

        Raises `BadRequestError` where nobody has such an account or key, `UnavailableError` where there are none yet.
        """

    @abstractmethod
    async def pull(self, account: str | None, sdk_key: str | None) -> FlagSettings:
        """Like `settings_for`, once what is newest has been asked for; the last good ones where it can't be had."""

    @abstractmethod
    async def catch_up(self) -> None:
        """Take up what another process of the crew has learnt."""

    @property
    @abstractmethod
    def current(self) -> Sequence[FlagSettings]:
        """The last good ones of every environment, as far as this process knows."""

    @property
    @abstractmethod
    def trouble(self) -> list[str]:
        """What is wrong with the settings, in the words of `/readyz`."""

    @abstractmethod
    def running(self) -> AbstractAsyncContextManager[None]:
        """Keep the settings new while the block runs."""

    def changed(self) -> None:
        for tell in self.when_changed:
            tell()


def no_settings(problem: str) -> UnavailableError:
    return UnavailableError(problem, reason="no_settings")


def settings_router(served: ServedSettings) -> APIRouter:
    router = APIRouter()

    async def v2_settings(request: Request) -> Response:
        return _json(await polled_settings(served, request))

    async def v2_pull(request: Request) -> Response:
        return _json((await served.pull(*_whose(request))).body)

    for path, endpoint, summary in (
        (POLLED, v2_settings, "Flag settings, for SDKs that start or poll"),
        ("/server-side/v2-pull", v2_pull, "Flag settings, read anew first"),
    ):
        router.add_api_route(
            path,
            endpoint,
            methods=["GET"],
            summary=summary,
            response_model=None,
            openapi_extra=_OPENAPI,
            responses=_ERRORS,
        )
    return router


async def polled_settings(served: ServedSettings, request: Request) -> bytes:
    """What is answered at `POLLED`. Raises what `ServedSettings.settings_for` does."""
    await served.catch_up()
    return (await served.settings_for(*_whose(request))).body


def _whose(request: Request) -> tuple[str | None, str | None]:
    """Account and SDK key; empty ones count as none."""
    query = request.query_params
    return query.get("a") or None, query.get("i") or None


def _json(body: bytes) -> Response:
    return Response(body, headers={CACHE_CONTROL: REVALIDATED}, media_type="application/json")
