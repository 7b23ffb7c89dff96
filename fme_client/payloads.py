"""The events that VWO knows, as the Node SDK 1.35 writes them. Pure, but for the clock and chance."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from fme_client._version import NAME, VERSION
from fme_client.errors import ContextError
from fme_client.evaluation.events import (
    VARIATION_SHOWN,
    VISITOR_ATTRIBUTES,
    EventWriter,
    attributes_shown,
    of_custom_event,
    of_exposure,
)
from fme_client.identity import get_uuid
from fme_client.transport import encoded

if TYPE_CHECKING:
    from fme_client.evaluation import Context, Exposure

SDK_INITIALISED = "vwo_fmeSdkInit"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its body for `/events/t` or a batch, its parameters and headers for `/events/t`.

    `user`: the id of the user whom it is about, which VWO never gets; a gateway that wants it does.
    """

    parameters: Mapping[str, object]
    headers: Mapping[str, str]
    body: bytes
    user: str | None = None


class Payloads:
    """Writes the events of one account and environment. `base` is where they go."""

    def __init__(self, account_id: str, sdk_key: str, base: str) -> None:
        self._account_id = account_id
        self._sdk_key = sdk_key
        self._writer = EventWriter(NAME, VERSION, sdk_key)
        # The Node SDK puts this together without `://`, and VWO knows it so.
        self._url = f"https{urlsplit(base).hostname}/events/t"

    def variation_shown(self, context: Context, exposure: Exposure) -> Event:
        """A user got a variation. Raises `ContextError` where a variable is no JSON value."""
        return self._of(context, VARIATION_SHOWN, of_exposure(exposure), attributes_shown(context))

    def custom_event(self, context: Context, name: str, properties: Mapping[str, Any]) -> Event:
        """Something happened. Raises `ContextError` where a property is no JSON value."""
        return self._of(context, name, of_custom_event(properties), {})

    def attributes(self, context: Context, attributes: Mapping[str, Any], environment: str | None) -> Event:
        """`environment` is the SDK key that the settings name. Raises `ContextError` as above."""
        props: dict[str, Any] = {"isCustomEvent": True}
        if environment is not None:
            props["vwo_fs_environment"] = environment
        return self._of(context, VISITOR_ATTRIBUTES, props, attributes)

    def initialised(self, *, fetch_seconds: float, init_seconds: float) -> Event:
        """A client has its first settings."""
        data = {
            "isSDKInitialized": True,
            "settingsFetchTime": round(fetch_seconds * 1000),
            "sdkInitTime": round(init_seconds * 1000),
        }
        props = {"vwo_fs_environment": self._sdk_key, "product": "fme", "data": data}
        nobody = f"{self._account_id}_{self._sdk_key}"
        return self._event(
            nobody, SDK_INITIALISED, props, {}, user_agent="", ip_address="", agent_parameter="", is_user=False
        )

    def _of(self, context: Context, name: str, props: Mapping[str, Any], attributes: Mapping[str, Any]) -> Event:
        agent = context.user_agent
        return self._event(
            context.id,
            name,
            props,
            attributes,
            user_agent=agent or "",
            ip_address=context.ip_address or "",
            # Encoded before it is put into the query, as the Node SDK does, which also encodes the lack of one.
            agent_parameter="undefined" if agent is None else agent,
        )

    def _event(
        self,
        user_id: str,
        name: str,
        props: Mapping[str, Any],
        attributes: Mapping[str, Any],
        *,
        user_agent: str,
        ip_address: str,
        agent_parameter: str,
        is_user: bool = True,
    ) -> Event:
        now = time.time()
        body = self._writer.body(
            name,
            props,
            attributes,
            visitor=get_uuid(user_id, self._account_id),
            user_agent=user_agent,
            ip_address=ip_address,
            now=now,
        )
        parameters = {
            "en": name,
            "a": self._account_id,
            "eTime": int(now * 1000),
            "random": random.random(),  # noqa: S311 - against caches
            "p": "FS",
            "visitor_ua": agent_parameter,
            "visitor_ip": ip_address,
            "sn": NAME,
            "sv": VERSION,
            "env": self._sdk_key,
            "url": self._url,
        }
        headers = {}
        if user_agent:
            headers["X-Device-User-Agent"] = _header(user_agent)
        if ip_address:
            headers["VWO-X-Forwarded-For"] = _header(ip_address)
        return Event(parameters, headers, _json(body), user_id if is_user else None)


class _NoJsonError(TypeError):
    """A value of a type that JSON lacks; the text is the type's name."""


def _json(body: Mapping[str, Any]) -> bytes:
    """JSON in ASCII. A date, a decimal number and a UUID go as their texts. Raises `ContextError`."""
    try:
        return json.dumps(body, separators=(",", ":"), allow_nan=False, default=_plain).encode()
    except RecursionError:
        why = "it is nested too deeply"
    except _NoJsonError as error:
        why = f"{error} is no type of JSON"
    except TypeError:
        why = "a key is no text"
    except ValueError:
        why = "a number is NaN, infinite or too long, or a value holds itself"
    raise ContextError(f"a variable, property or attribute can't be sent as JSON: {why}")


def _plain(value: object) -> object:
    if isinstance(value, (date, Decimal, UUID)):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Integral):  # those of numpy are no int
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise _NoJsonError(type(value).__name__)


def _header(value: str) -> str:
    """Text that is safe in a header: percent-encoded where it is not printable ASCII. Raises `ContextError`."""
    try:
        return value if value.isascii() and value.isprintable() else encoded(value)
    except UnicodeEncodeError:
        raise ContextError("context.user_agent or ip_address is no Unicode text: half a surrogate pair") from None
