"""The gateway that is fuzzed: its flags ask about lists, devices, places, numbers and texts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from tests.decisions.builders import PERSONALIZE, ROLLOUT, TESTING, campaign, document, feature
from tests.fuzz.check_requests import COLON_LIST, LIST, put_lists
from tests.fuzz.gateway_requests import FLAGS
from tests.gateway.deciding import Deciding, deciding
from tests.support.geoip import SAN_FRANCISCO, write_database
from tests.support.processes import running_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import StoreServer


@contextlib.contextmanager
def fuzzed_gateway() -> Iterator[Deciding]:
    """A gateway of its own, with lists, and events that wait in the store."""
    with running_store("--appendfsync", "no") as store, gateway_of(store) as gateway:
        yield gateway


@contextlib.contextmanager
def gateway_of(store: StoreServer) -> Iterator[Deciding]:
    """The same, of a store that is there."""
    with store.client() as client:
        put_lists(client)
    database = store.directory / "places.mmdb"
    write_database(database, {"203.0.113.0/24": SAN_FRANCISCO, "2001:db8::/32": SAN_FRANCISCO})
    more = {
        "GEOIP_DATABASE": str(database),
        "TRUSTED_PROXIES": "1",
        "CORS_CONFIG_REQUIRED": "true",
        "OFREP_BULK_EXPOSURES": "true",
        "ALIASES_REMEMBERED": "5",
    }
    with deciding(store.directory, store.url, _settings(), **more) as gateway:
        yield gateway


def _settings() -> dict[str, Any]:
    members = {"or": [{"custom_variable": {"plan": f"inlist({name})"}} for name in (LIST, COLON_LIST)]}
    person = {
        "or": [
            {"custom_variable": {"age": "gt(30)"}},
            {"custom_variable": {"plan": "regex(^a+[0-9]*$)"}},
            {"custom_variable": {"plan": "lower(wildcard(*ali*))"}},
            {"and": [{"country": "United States"}, {"not": {"or": [{"device_type": "mobile"}]}}]},
            {"and": [{"os": "wildcard(*mac*)"}, {"browser_agent": "Chrome"}]},
        ]
    }
    rollout, again = campaign(ROLLOUT, 1, {"or": [members, person]}), campaign(ROLLOUT, 2, members)
    split = campaign(TESTING, 3, person, (40, 60), isForcedVariationEnabled=True)
    split["variations"][1]["segments"] = {"or": [{"user": "bob, carol"}]}
    personal = campaign(PERSONALIZE, 4, {"not": members})
    campaigns = [rollout, again, split, personal]
    rules = (campaigns, [again], [rollout])
    features = [feature(number, key, chosen) for number, (key, chosen) in enumerate(zip(FLAGS, rules, strict=True), 1)]
    return document(features, campaigns)
