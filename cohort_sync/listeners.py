"""The two applications of cohort-sync on their addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohort_sync.administration import create_administration_app
from cohort_sync.public import create_public_app
from foundation.guarded_http import Guard, guarded_protocol
from foundation.serving import Listener

if TYPE_CHECKING:
    from cohort_sync.write_side import WriteSide


def listeners(receiver: WriteSide) -> tuple[Listener, Listener]:
    """The public one and the administration, each guarded against whoever connects."""
    settings = receiver.settings
    guard = Guard(
        connections=settings.webhook_connections,
        head_seconds=settings.webhook_seconds / 6,
        count=lambda reason: receiver.metrics.connections_refused.labels(reason).inc(),
    )
    options = {"http": guarded_protocol(guard), "ws": "none"}
    administration = create_administration_app(receiver)
    return (
        Listener(create_public_app(receiver), settings.cohort_sync_host, settings.cohort_sync_port, options),
        Listener(administration, settings.cohort_sync_admin_host, settings.cohort_sync_admin_port, options),
    )
