"""The events that decisions give rise to, in the shape in which the Node SDK 1.35 sends them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from fme_client.evaluation.events import (
    VARIATION_SHOWN,
    VISITOR_ATTRIBUTES,
    EventWriter,
    attributes_shown,
    of_custom_event,
    of_exposure,
)
from gateway.decisions_requests import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fme_client.evaluation import Context, Decision, Settings

NAME = "cohort-gateway"
VERSION = "0.1.0"


class Intake(Protocol):
    """Where events go. It takes them within the time that an answer has, and never raises."""

    async def take(self, account: str, sdk_key: str, user: str, bodies: Iterable[bytes]) -> None:
        """`bodies`: each the JSON of one event about `user` (an id) as `/events/t` takes it, written when asked for."""


class Sender:
    """Writes events of users and hands them to the intake."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def exposures(
        self, settings: Settings, sdk_key: str | None, context: Context, decisions: Iterable[Decision]
    ) -> None:
        """The user got variations: one event each."""
        shown = [exposure for decision in decisions for exposure in decision.exposures]
        if shown:
            writer, attributes = _Writer(settings, sdk_key, context), attributes_shown(context)
            bodies = (writer.event(VARIATION_SHOWN, of_exposure(exposure), attributes) for exposure in shown)
            await self._intake.take(settings.account_id, writer.sdk_key, context.id, bodies)

    async def tracked(
        self, settings: Settings, sdk_key: str | None, context: Context, name: str, properties: Mapping[str, Any]
    ) -> None:
        """The user did something."""
        writer = _Writer(settings, sdk_key, context)
        body = writer.event(name, of_custom_event(properties), {})
        await self._intake.take(settings.account_id, writer.sdk_key, context.id, [body])

    async def attributes(
        self, settings: Settings, sdk_key: str | None, context: Context, attributes: Mapping[str, Any]
    ) -> None:
        """Something is known of the user."""
        writer = _Writer(settings, sdk_key, context)
        props = {"isCustomEvent": True, "vwo_fs_environment": writer.sdk_key}
        body = writer.event(VISITOR_ATTRIBUTES, props, attributes)
        await self._intake.take(settings.account_id, writer.sdk_key, context.id, [body])


class _Writer:
    """Events of one user and one moment."""

    def __init__(self, settings: Settings, sdk_key: str | None, context: Context) -> None:
        self.sdk_key = sdk_key or settings.sdk_key or ""
        self._writer = EventWriter(NAME, VERSION, self.sdk_key)
        self._visitor = settings.visitor_id(context.id)
        self._context = context
        self._now = time.time()

    def event(self, name: str, props: Mapping[str, Any], attributes: Mapping[str, Any]) -> bytes:
        body = self._writer.body(
            name,
            props,
            attributes,
            visitor=self._visitor,
            user_agent=self._context.user_agent or "",
            ip_address=self._context.ip_address or "",
            now=self._now,
        )
        return to_json(body)
