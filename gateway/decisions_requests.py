"""Requests for decisions: typed at the edge, and refused with the names of the fields and how to mend them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fme_client.evaluation import Context
from foundation.errors import BadRequestError
from foundation.json import no_json, utf8
from foundation.json_outline import has_more_values
from gateway.addresses import bare_address
from gateway.bodies import BodyTooLargeError

if TYPE_CHECKING:
    from foundation.turns import Turns

MAX_FLAGS = 1000
MAX_VALUES = 20_000  # in a body: making more of them would hold up everybody else
_SMALL = 64 * 1024  # bytes; no more than about so many values fit

_CURE = "send fewer variables"

HALF_PAIR = b"\\ud"

Scalar = str | int | float | bool


class User(msgspec.Struct, rename="camel"):
    """Whom a request is about, as the Node SDK's context describes a user. `id` is another name of `userId`."""

    user_id: str | int | None = None
    id: str | int | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    custom_variables: dict[str, Any] | None = None
    variation_targeting_variables: dict[str, Any] | None = None
    post_segmentation_variables: list[str] | None = None

    @property
    def user(self) -> str:
        """The user's id; empty where there is none. Numbers are taken as their digits."""
        given = self.user_id if self.user_id not in (None, "") else self.id
        return "" if given is None else str(given)

    def missing(self) -> list[str]:
        """Names of the required fields that are not there, or empty."""
        return [] if self.user else ["userId"]

    def context(self) -> Context:
        return Context(
            id=self.user,
            custom_variables=self.custom_variables or {},
            variation_targeting_variables=self.variation_targeting_variables or {},
            user_agent=self.user_agent,
            ip_address=bare_address(self.ip_address or "") or None,
            post_segmentation_variables=self.post_segmentation_variables or (),
        )


class FlagQuestion(User, rename="camel"):
    """One flag."""

    feature_key: str | None = None

    def missing(self) -> list[str]:
        return ([] if self.feature_key else ["featureKey"]) + User.missing(self)


class FlagsQuestion(User, rename="camel"):
    """Several flags; without `featureKeys` all there are."""

    feature_keys: list[str] | None = None


class Tracked(User, rename="camel"):
    """Something that a user did."""

    event_name: str | None = None
    event_properties: dict[str, Any] | None = None

    def missing(self) -> list[str]:
        return ([] if self.event_name else ["eventName"]) + User.missing(self)


class Attribute(User, rename="camel"):
    """What is to be known of a user."""

    attribute_key: str | None = None
    attribute_value: Scalar | None = None

    def missing(self) -> list[str]:
        missing = [] if self.attribute_key else ["attributeKey"]
        return missing + ([] if self.attribute_value is not None else ["attributeValue"]) + User.missing(self)


_Asked = TypeVar("_Asked", bound=User)


async def read(body: bytes, kind: type[_Asked], turns: Turns) -> _Asked:
    """What `body` asks. Raises `BadRequestError`, which names what is missing or wrong, and `BodyTooLargeError`."""
    try:
        asked = msgspec.convert(await read_json(body, turns), kind)
    except msgspec.ValidationError as error:
        raise BadRequestError(f"the body has a wrong field: {error}", reason="bad_field") from None
    except ValueError as error:
        message = f"the body is {no_json(error)}; send an object as application/json"
        raise BadRequestError(message, reason="bad_json") from None
    missing = asked.missing()
    if missing:
        raise BadRequestError(f"missing in the body: {', '.join(missing)}", reason="missing_field")
    if not is_text(asked.user):
        raise BadRequestError("userId: holds half a surrogate pair, and so is no Unicode text", reason="bad_field")
    return asked


async def read_json(body: bytes, turns: Turns) -> Any:
    """The value of `body`. Raises `ValueError` for what is no JSON, and `BodyTooLargeError`."""
    if len(body) > _SMALL and await turns.drive(has_more_values(body, MAX_VALUES)):
        raise BodyTooLargeError(f"the body holds more than {MAX_VALUES} values; {_CURE}")
    return parse_json(body)


def parse_json(body: bytes) -> Any:
    """The value of `body`, which may begin with a byte-order mark. Raises `ValueError`.

    JavaScript writes half a surrogate pair as an escape (ECMA-262, 25.5.2.3). It is no text, but a rule may well be
    decided on something else, and so it is let through.
    """
    body = utf8(body)
    try:
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError:
            if HALF_PAIR not in body.lower():
                raise
            return json.loads(body.decode(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def to_json(document: Any) -> bytes:
    """The reverse of `parse_json`; half a surrogate pair becomes `?`. Raises `BadRequestError` for what is no JSON."""
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        raise BadRequestError("a value can't be sent as JSON", reason="bad_field") from None


def is_text(value: str) -> bool:
    """Whether `value` has no half surrogate pairs."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
