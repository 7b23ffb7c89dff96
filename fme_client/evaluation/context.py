"""Whom a flag is evaluated for."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fme_client.evaluation import js
from fme_client.evaluation.js import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Context:
    """A user, as the Node SDK's context describes one. Values are JSON values; the mappings are never changed.

    `user_details` is what `/get-user-details` would say (`location`, `userAgent`); with it nobody is asked.
    `post_segmentation_variables` names custom variables that go out with exposures; evaluation does not read it.
    """

    id: str
    custom_variables: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    variation_targeting_variables: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    user_agent: str | None = None
    ip_address: str | None = None
    user_details: Mapping[str, Any] | None = None
    post_segmentation_variables: Sequence[str] = ()
    # Texts of lists and objects, by the ids of these: a megabyte of them is made a text once, not for each condition.
    _texts: dict[int, str | Fault] = field(default_factory=dict, init=False, repr=False, compare=False)

    def text(self, value: Any) -> str:
        """`value`, one of the variables, as JavaScript makes it a text. Raises `Fault` where the Node SDK throws."""
        if not isinstance(value, (dict, list)):
            return js.text(value)
        found = self._texts.get(id(value))
        if found is None:
            try:
                found = js.text(value)
            except Fault as fault:
                found = fault
            self._texts[id(value)] = found
        if isinstance(found, Fault):
            raise Fault(str(found))
        return found
