"""The bodies of VWO's events, as the Node SDK 1.35 writes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fme_client.evaluation.context import Context
    from fme_client.evaluation.decision import Exposure

VARIATION_SHOWN = "vwo_variationShown"
VISITOR_ATTRIBUTES = "vwo_syncVisitorProp"


@dataclass(frozen=True, slots=True)
class EventWriter:
    """Writes the events that `name` in `version` sends for one environment."""

    name: str
    version: str
    sdk_key: str

    def body(
        self,
        event: str,
        props: Mapping[str, Any],
        attributes: Mapping[str, Any],
        *,
        visitor: str,
        user_agent: str,
        ip_address: str,
        now: float,
    ) -> dict[str, Any]:
        """What is sent of `event`. `visitor`: VWO's id of the user; `now`: seconds since 1970."""
        milliseconds = int(now * 1000)
        sent_by = {"vwo_sdkName": self.name, "vwo_sdkVersion": self.version, "vwo_envKey": self.sdk_key}
        return {
            "d": {
                "msgId": f"{visitor}-{milliseconds}",
                "visId": visitor,
                "sessionId": math.ceil(now),
                "visitor_ua": user_agent,
                "visitor_ip": ip_address,
                "event": {"props": {**sent_by, **props}, "name": event, "time": milliseconds},
                "visitor": {"props": {"vwo_fs_environment": self.sdk_key, **attributes}},
            }
        }


def of_exposure(exposure: Exposure) -> dict[str, Any]:
    """Its `props`."""
    return {"id": exposure.campaign_id, "variation": exposure.variation_id, "isFirst": 1}


def of_custom_event(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Its `props`."""
    # `variation` and `id` are what the Node SDK sends until VWO fills them in.
    return {"isCustomEvent": True, "variation": 1, "id": 1, **properties}


def attributes_shown(context: Context) -> dict[str, Any]:
    """What an exposure tells of the user."""
    attributes = {
        name: value
        for name in context.post_segmentation_variables
        if (value := context.custom_variables.get(name)) or isinstance(value, (list, dict))
    }
    if context.ip_address:
        attributes["ip"] = context.ip_address
    return attributes
