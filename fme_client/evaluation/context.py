"""Whom a flag is evaluated for."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

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
