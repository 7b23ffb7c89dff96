"""The receiver: takes a verified push to its list."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from typing import TYPE_CHECKING

from attribute_lists.bodies import Names
from attribute_lists.changes import Changes, Outcome, Page
from attribute_lists.definitions import Definitions
from cohort_sync.metrics import Metrics
from cohort_sync.pushes import DrainPush, SyncPush, parse_push
from foundation.errors import ForbiddenError, UnavailableError
from foundation.store import STORE_ERRORS, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cohort_sync.settings import CohortSyncSettings
    from foundation.store import Store

log = logging.getLogger(__name__)

SOURCE = "heap"


class Receiver:
    """Owns what both applications of cohort-sync share. Made by `open_receiver`."""

    def __init__(self, settings: CohortSyncSettings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.definitions = Definitions(store)
        self.changes = Changes(store)
        self.metrics = Metrics()
        self.secrets = settings.webhook_secrets()
        self.admin_token = settings.administration_token()
        self.default_account = settings.default_account

    async def take(self, body: bytes, *, signed_at: int) -> None:
        """Apply a push whose signature was verified; when this returns the change is durable.

        `signed_at`: Unix milliseconds. Raises what `parse_push` raises, `ForbiddenError` for an unknown `id_token`,
        and `UnavailableError` while the store is away.
        """
        push = parse_push(body)
        account = self._account_of(push)
        try:
            list_id = await self.definitions.list_of_segment(account, push.segment_id, push.segment_name, source=SOURCE)
            if isinstance(push, DrainPush):
                outcome = await self.changes.drain((account, list_id), at=signed_at, mark=f"drain:{signed_at}")
            else:
                outcome = await self.changes.apply_page((account, list_id), _page(push, body, signed_at))
        except STORE_ERRORS as error:
            log.warning("a push for segment %s waits: store error %s", push.segment_id, type(error).__name__)
            raise UnavailableError("the store is away; send this again later", reason="store_away") from error
        self._report(push, account, list_id, outcome)

    def _account_of(self, push: SyncPush | DrainPush) -> str:
        if push.id_token is not None:
            raise ForbiddenError("Invalid id_token", reason="unknown_id_token")
        return self.default_account

    def _report(self, push: SyncPush | DrainPush, account: str, list_id: str, outcome: Outcome) -> None:
        where = f"{account} {list_id} (segment {push.segment_id})"
        if outcome.repeated:
            self.metrics.pushes.labels("repeated").inc()
            log.info("%s: a repeated push, nothing to do", where)
            return
        self.metrics.members.labels("removed").inc(outcome.removed)
        if isinstance(push, DrainPush):
            self.metrics.pushes.labels("drained").inc()
            log.info("%s: drained, %d members removed", where, outcome.removed)
            return
        self.metrics.pushes.labels("applied").inc()
        self.metrics.members.labels("added").inc(outcome.added)
        self.metrics.members.labels("skipped").inc(push.skipped)
        log.info(
            "%s: task %r page %d of %d: %d added, %d removed, %d skipped",
            *(where, push.task, push.page_number, push.total_pages, outcome.added, outcome.removed, push.skipped),
        )


def _page(push: SyncPush, body: bytes, signed_at: int) -> Page:
    return Page(
        task=push.task,
        number=push.page_number,
        total=push.total_pages,
        names=Names(push.add, push.remove),
        skipped=push.skipped,
        digest=hashlib.blake2b(body, digest_size=16).hexdigest(),
        signed_at=signed_at,
    )


@contextlib.asynccontextmanager
async def open_receiver(settings: CohortSyncSettings) -> AsyncIterator[Receiver]:
    """The receiver and its connection to the store, closed at the end. Raises `ConfigurationError`."""
    store = connect(settings)
    try:
        yield Receiver(settings, store)
    finally:
        await store.aclose()
