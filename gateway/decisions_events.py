"""The events that decisions give rise to, in the shape in which the Node SDK 1.35 sends them."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Protocol

from gateway.decisions_requests import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fme_client.evaluation import Context, Decision, Settings

NAME = "cohort-gateway"
VERSION = "0.1.0"


class Intake(Protocol):
    """Where events go. It takes them within the time that an answer has, and never raises."""

    async def take(self, account: str, sdk_key: str, bodies: Sequence[bytes]) -> None:
        """`bodies`: each the JSON of one event as `/events/t` takes it."""


class Sender:
    """Writes events of users and hands them to the intake."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def exposures(
        self, settings: Settings, sdk_key: str | None, context: Context, decisions: Iterable[Decision]
    ) -> None:
        """The user got variations: one event each."""
        variables = context.custom_variables
        attributes = {
            name: value
            for name in context.post_segmentation_variables
            if (value := variables.get(name)) or isinstance(value, (list, dict))
        }
        if context.ip_address:
            attributes["ip"] = context.ip_address
        writer = _Writer(settings, sdk_key, context)
        bodies = [
            writer.event(
                "vwo_variationShown",
                {"id": exposure.campaign_id, "variation": exposure.variation_id, "isFirst": 1},
                attributes,
            )
            for decision in decisions
            for exposure in decision.exposures
        ]
        if bodies:
            await self._intake.take(settings.account_id, writer.sdk_key, bodies)

    async def tracked(
        self, settings: Settings, sdk_key: str | None, context: Context, name: str, properties: Mapping[str, Any]
    ) -> None:
        """The user did something."""
        writer = _Writer(settings, sdk_key, context)
        # `variation` and `id` are what the Node SDK sends until VWO fills them in.
        body = writer.event(name, {"isCustomEvent": True, "variation": 1, "id": 1, **properties}, {})
        await self._intake.take(settings.account_id, writer.sdk_key, [body])

    async def attributes(
        self, settings: Settings, sdk_key: str | None, context: Context, attributes: Mapping[str, Any]
    ) -> None:
        """Something is known of the user."""
        writer = _Writer(settings, sdk_key, context)
        props = {"isCustomEvent": True, "vwo_fs_environment": writer.sdk_key}
        body = writer.event("vwo_syncVisitorProp", props, attributes)
        await self._intake.take(settings.account_id, writer.sdk_key, [body])


class _Writer:
    """Events of one user and one moment."""

    def __init__(self, settings: Settings, sdk_key: str | None, context: Context) -> None:
        self.sdk_key = sdk_key or settings.sdk_key or ""
        self._visitor = settings.visitor_id(context.id)
        self._context = context
        self._now = time.time()

    def event(self, name: str, props: Mapping[str, Any], attributes: Mapping[str, Any]) -> bytes:
        milliseconds = int(self._now * 1000)
        sent_by = {"vwo_sdkName": NAME, "vwo_sdkVersion": VERSION, "vwo_envKey": self.sdk_key}
        body = {
            "d": {
                "msgId": f"{self._visitor}-{milliseconds}",
                "visId": self._visitor,
                "sessionId": math.ceil(self._now),
                "visitor_ua": self._context.user_agent or "",
                "visitor_ip": self._context.ip_address or "",
                "event": {"props": {**sent_by, **props}, "name": name, "time": milliseconds},
                "visitor": {"props": {"vwo_fs_environment": self.sdk_key, **attributes}},
            }
        }
        return to_json(body)
