"""Events as Statsig's generic webhook sends them: its signature, and what an event becomes.

Form and signature are from Statsig's documentation of its webhook; `docs/heap-statsig.md` says what it leaves open.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import msgspec

from foundation.errors import BadRequestError, ForbiddenError
from foundation.json import utf8
from heap_export.batches import Skip
from heap_export.fields import an_object, number_of, optional_text
from heap_export.keys import is_signed
from heap_export.records import Exposure, PlainEvent, Record, RefusedError, Source

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

SIGNATURE = "X-Statsig-Signature"
TIMESTAMP = "X-Statsig-Request-Timestamp"

_AHEAD_SECONDS = 60
_VERSION = "v0"
_MOMENT = re.compile(r"\d{1,15}", re.ASCII)
_OWN = "statsig::"
_LARGEST_HANDSHAKE = 4096  # bytes

# As it says, and as JSON may say it.
_GATE_VALUES: Mapping[Any, bool] = {"true": True, "false": False, True: True, False: False}


def check_signature(
    signature: str | None, timestamp: str | None, body: bytes, secrets: Sequence[str], *, tolerance: float
) -> Generator[None, None, None]:
    """The headers `X-Statsig-Signature` and `X-Statsig-Request-Timestamp` (ms); `tolerance` in seconds.

    In short steps. Raises `BadRequestError` for headers that are missing or have another form, and `ForbiddenError`.
    """
    for name, header in ((SIGNATURE, signature), (TIMESTAMP, timestamp)):
        if header is None:
            raise BadRequestError(f"{name}: the header is missing", reason="missing_signature")
    version, _, claimed = (signature or "").strip().partition("=")
    moment = (timestamp or "").strip()
    if version != _VERSION or not _MOMENT.fullmatch(moment):
        raise BadRequestError(
            f"{SIGNATURE}: expected v0=<hex>, and {TIMESTAMP} in milliseconds", reason="malformed_signature"
        )
    if not (yield from is_signed(claimed, f"{_VERSION}:{moment}:".encode(), body, secrets)):
        raise ForbiddenError("Invalid signature", reason="bad_signature")
    age = time.time() - int(moment) / 1000
    if age > tolerance:
        raise ForbiddenError(
            "Invalid signature: its timestamp is too old (STATSIG_TIMESTAMP_TOLERANCE)", reason="stale_timestamp"
        )
    if age < -_AHEAD_SECONDS:
        raise ForbiddenError(
            "Invalid signature: its timestamp lies ahead; check this machine's clock", reason="future_timestamp"
        )


class _Question(msgspec.Struct):
    event: str
    verification_code: str


class _Handshake(msgspec.Struct):
    data: _Question


_read_handshake = msgspec.json.Decoder(_Handshake).decode


def verification_code(body: bytes) -> str | None:
    """What Statsig wants to hear back when it is told of our address: it asks unsigned, before it sends anything."""
    if len(body) > _LARGEST_HANDSHAKE:
        return None
    try:
        question = _read_handshake(utf8(body)).data
    except (ValueError, RecursionError):
        return None
    return question.verification_code if question.event == "url_verification" else None


def record_of(event: Any) -> Record | Skip:
    """Raises `RefusedError`."""
    if not isinstance(event, dict):
        raise RefusedError("an event must be an object", reason="bad_shape")
    name = event.get("eventName")
    make = _EXPOSURES.get(name) if isinstance(name, str) else None
    if make is None and isinstance(name, str) and name.startswith(_OWN):
        return Skip.NOT_AN_EXPOSURE
    identity = _identity(event)
    if identity is None:
        return Skip.ANONYMOUS
    stamp = event.get("timestamp")
    moment = time.time() if stamp is None else number_of(stamp, "timestamp") / 1000
    message = optional_text(event.get("timeUUID"), "timeUUID") or ""
    metadata = an_object(event.get("metadata"), "metadata")
    if make is None:
        value = event.get("value")
        properties = metadata if value in (None, "") else {"value": value} | metadata
        return PlainEvent(Source.STATSIG, name or "", identity, moment, message, properties)
    flag, variation, enabled = make(metadata)
    return Exposure(
        source=Source.STATSIG,
        flag_key=flag,
        identity=identity,
        time=moment,
        variation_key=variation,
        rule_key=optional_text(metadata.get("ruleID"), "metadata.ruleID"),
        enabled=enabled,
        dedupe_key=message,
    )


def _identity(event: Mapping[str, Any]) -> str | None:
    user = an_object(event.get("user"), "user")
    return optional_text(event.get("userID"), "userID") or optional_text(user.get("userID"), "user.userID")


def _gate(metadata: Mapping[str, Any]) -> tuple[Any, str | None, bool]:
    value = metadata.get("gateValue")
    if not isinstance(value, (str, bool)) or value not in _GATE_VALUES:
        raise RefusedError("metadata.gateValue: must be true or false", reason="bad_gate_value")
    enabled = _GATE_VALUES[value]
    return metadata.get("gate"), "on" if enabled else "off", enabled


def _config(metadata: Mapping[str, Any]) -> tuple[Any, str | None, bool]:
    rule = optional_text(metadata.get("ruleID"), "metadata.ruleID")
    return metadata.get("config"), rule, _passed(metadata)


def _experiment(metadata: Mapping[str, Any]) -> tuple[Any, str | None, bool]:
    config, rule, passed = _config(metadata)
    return config, optional_text(metadata.get("experimentGroupName"), "metadata.experimentGroupName") or rule, passed


def _passed(metadata: Mapping[str, Any]) -> bool:
    """Only server SDKs say it."""
    return metadata.get("rulePassed") not in ("false", False)


_EXPOSURES = {
    "statsig::gate_exposure": _gate,
    "statsig::config_exposure": _config,
    "statsig::experiment_exposure": _experiment,
}
