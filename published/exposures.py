"""The stream of exposures: every `vwo_variationShown` that a gateway was sent, or sent itself, for heap-export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from event_stream.stream import Stream

if TYPE_CHECKING:
    from foundation.store import Store

NAME, GROUP = "exposures", "heap"
MOST, MOST_DEAD = 500_000, 100_000  # that wait, and dead letters


class Shown(msgspec.Struct, omit_defaults=True):
    """An exposure in the stream, where `to` is `account/SDK key`: the event as it was sent.

    `user`: the user's id, where the gateway knew it at that moment. The event has the visitor id alone.
    """

    event: msgspec.Raw
    user: str | None = None


open_shown = msgspec.json.Decoder(Shown).decode
close_shown = msgspec.json.encode


def exposure_stream(store: Store, *, most: int = MOST) -> Stream:
    """`most`: how many may wait. Dead letters are exposures that could not be understood, by reason."""
    return Stream(store, NAME, group=GROUP, most=most, most_dead=MOST_DEAD)
