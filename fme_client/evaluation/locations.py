"""Conditions on country, region and city, which the gateway looks up for the address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fme_client.evaluation import js
from fme_client.evaluation.js import Fault

if TYPE_CHECKING:
    from fme_client.evaluation.view import View


def location_check(wanted: Mapping[str, Any]) -> Callable[[View, Mapping[str, Any]], bool]:
    """All of `wanted` (by `country`, `region`, `city`) is so, to the letter."""

    def check(view: View, _variables: Mapping[str, Any]) -> bool:
        if view.ip_address is None:
            return False
        place = view.detail("location")
        if place is None or isinstance(place, list):
            return False
        if not isinstance(place, Mapping):
            raise Fault("the user's location is no object")
        return all(name in place and _plain(value) == _plain(place[name]) for name, value in wanted.items())

    return check


def _plain(value: Any) -> str | None:
    """The text without quotes around it and blanks around that."""
    return None if value is None else js.trim(js.text(value).removeprefix('"').removesuffix('"'))
