"""The receiver: takes a verified push to the journal, then to its list."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

from attribute_lists.bodies import Names, pack
from attribute_lists.work import Ordering
from cohort_sync.applying import Applier
from cohort_sync.checkpoints import Checkpoints
from cohort_sync.connect_flow import ConnectFlow
from cohort_sync.connections import Connections
from cohort_sync.erasures import Erasures
from cohort_sync.journal import Journal, NoJournal
from cohort_sync.known_lists import KnownLists
from cohort_sync.metrics import Metrics
from cohort_sync.oauth_states import OAuthStates
from cohort_sync.operations import Operations
from cohort_sync.pushes import DrainPush
from cohort_sync.records import DrainRecord, ListOrigin, OperationRecord, PageRecord, pack_record
from cohort_sync.recovery import Recovery
from cohort_sync.sealing import open_sealer
from cohort_sync.store_checks import dangers
from cohort_sync.upkeep import DAY_MS, Upkeep
from foundation.background import failed_tasks
from foundation.errors import ConfigurationError, UnavailableError
from foundation.secrets import read_or_create_secret
from foundation.store import STORE_ERRORS, connect
from foundation.store_trouble import explain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from attribute_lists.changes import Outcome
    from attribute_lists.order import Mode
    from cohort_sync.intake import Verified
    from cohort_sync.pushes import SyncPush
    from cohort_sync.records import Record
    from cohort_sync.settings import CohortSyncSettings
    from foundation.store import Store

log = logging.getLogger(__name__)

SOURCE = "heap"
_START_SECONDS = 1.0  # that a push waits for the first look at the store, which takes a moment where nothing is missing
_PACKED_AT_ONCE = 2000  # members: up to here packing takes less than a turn of a thread


class Receiver:
    """Owns what both applications of cohort-sync share. Made by `open_receiver`."""

    def __init__(self, settings: CohortSyncSettings, store: Store, journal: Journal | NoJournal) -> None:
        self.settings = settings
        self.store = store
        self.journal = journal
        self.metrics = Metrics()
        self.secrets = settings.webhook_secrets()
        self.clock_is_doubtful = False  # a wrong clock here would refuse every push, for good
        self.admin_token = settings.administration_token()
        self.tag_key = read_or_create_secret(settings.data_dir / "erasure_key").encode()
        sealer = open_sealer(settings.data_dir)
        self.connections = Connections(store, sealer)
        self.ordering = Ordering(most_shrink=settings.snapshot_max_shrink, tag_key=self.tag_key)
        self.applier = Applier(store, self.ordering, self.connections, active=settings.auto_activate)
        self.definitions = self.applier.definitions
        self.changes = self.applier.changes
        self.checkpoints = Checkpoints(store, settings.data_dir / "checkpoints", self.connections, self.ordering)
        self.recovery = Recovery(
            store,
            self.applier,
            settings.data_dir / "journal",
            self.checkpoints,
            KnownLists(store, settings.data_dir / "known_lists.json"),
        )
        name = f"{read_or_create_secret(settings.data_dir / 'receiver_id')[:8]}-{journal.status().receiver}"
        self.connecting = ConnectFlow(
            settings=settings,
            connections=self.connections,
            states=OAuthStates(store),
            sealer=sealer,
            admin_token=self.admin_token,
            complete=lambda: self.recovery.complete,
            keep=self._keep_connection,
        )
        self.administration = Operations(self)
        self.erasures = Erasures(store, journal, self.checkpoints, receiver=name, tag_key=self.tag_key)

    async def take(self, verified: Verified) -> bool:
        """Apply a push whose signature was verified; when this returns the change is durable, and in the store.

        Raises `ForbiddenError` for an unknown `id_token`, and `UnavailableError` while the store or the journal is
        away.
        """
        push = verified.push
        await self.recovery.first_look(seconds=_START_SECONDS)
        try:
            account = await self.connections.account_of_push(
                push.id_token, default=self.default_account, complete=lambda: self.recovery.complete
            )
            list_id, mode = await self.definitions.whole_list_of_segment(
                account, push.segment_id, push.segment_name, source=SOURCE, active=self.settings.auto_activate
            )
        except STORE_ERRORS as error:
            raise _store_away(push, error) from error
        origin = ListOrigin(account, list_id, push.segment_id, push.segment_name, SOURCE)
        if isinstance(push, DrainPush):
            outcome = await self.keep(DrainRecord(origin, verified.signed_at))
        else:
            names = Names(push.add, push.remove)
            record = await _page_record(push, origin, names, verified, mode)
            outcome = await self.keep(record, names=names)
        self._report(push, origin, outcome)
        return True

    async def keep(self, record: Record, *, names: Names | None = None, member: bytes | None = None) -> Outcome:
        """Journal a record, then apply it. Raises `UnavailableError` when either can't be done now.

        A record that was journalled and then not applied is not lost: recovery applies it when the store is back, and
        its sender's retry is then a repeat.
        """
        await self.journal.append(pack_record(record))
        try:
            outcome = await self.applier.apply(record, names=names, member=member)
        except STORE_ERRORS as error:
            self.recovery.doubt()
            raise _store_away(record, error) from error
        self.recovery.remember(record)
        return outcome

    @functools.cached_property
    def default_account(self) -> str:
        """The account of pushes without `id_token`. Raises `ConfigurationError` when nothing names one."""
        return self.settings.default_account

    async def write_checkpoint(self) -> int:
        """Write a checkpoint (its time in ms is the answer) and drop what the journal then needs no longer."""
        started = await self.checkpoints.write()
        kept_since = int(time.time() * 1000) - self.settings.journal_days * DAY_MS
        dropped = await self.journal.drop_before(min(started, kept_since))
        log.info("wrote checkpoint %d; %d files of the journal are no longer needed", started, dropped)
        return started

    async def reasons_for_concern(self) -> list[str]:
        """What an operator should look at; empty when all is well."""
        try:
            found = await dangers(self.store, journal=self.settings.journal)
        except STORE_ERRORS as error:
            return [f"the store is away ({explain(error)}): pushes wait (503) and Heap sends them again"]
        if not self.recovery.complete:
            found.append("what the store lost is being restored")
        found += [f"list {name} was lost and could not be restored" for name in self.recovery.lost]
        found += failed_tasks()
        if self.clock_is_doubtful:
            found.append("clock: the last push was rightly signed and refused for its time; set this machine's clock")
        journal = self.journal.status()
        if journal.failing:
            found.append(f"the journal can't be written ({journal.last_error}), pushes wait: make room in DATA_DIR")
        return found

    async def _keep_connection(self, details: dict[str, Any]) -> None:
        """Journal a connection that was made or ended; the store has it already, so it is harmless."""
        record = OperationRecord(
            mark=f"op:{uuid.uuid4()}",
            at=details["at"],
            actor="connection",
            action="connection",
            account=details["account"],
            details=details,
        )
        await self.keep(record)

    def _report(self, push: SyncPush | DrainPush, origin: ListOrigin, outcome: Outcome) -> None:
        where = f"{origin.account} {origin.list_id} (segment {push.segment_id})"
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


async def _page_record(push: SyncPush, origin: ListOrigin, names: Names, verified: Verified, mode: Mode) -> PageRecord:
    large = len(names.add) + len(names.remove) > _PACKED_AT_ONCE
    return PageRecord(
        origin=origin,
        task=push.task,
        number=push.page_number,
        total=push.total_pages,
        skipped=push.skipped,
        mark=verified.digest,
        signed_at=verified.signed_at,
        packed=await asyncio.to_thread(pack, names) if large else pack(names),  # compressing leaves Python to others
        mode=mode,
    )


def _store_away(what: object, error: Exception) -> UnavailableError:
    log.warning("a %s waits for the store: %s", type(what).__name__, explain(error))
    return UnavailableError("the store is away; send this again later", reason="store_away")


@contextlib.asynccontextmanager
async def open_receiver(settings: CohortSyncSettings, *, taking: bool = True) -> AsyncIterator[Receiver]:
    """The receiver with its store and journal, closed at the end. Raises `ConfigurationError`.

    `taking`: it journals what it takes and keeps the store up. Without, it is a tool for a look or a repair beside the
    running ones.
    """
    if settings.write_side != "journal":
        raise ConfigurationError(
            "WRITE_SIDE: `journal`, `export` and `import` read and write what WRITE_SIDE=journal keeps; the database "
            "has no such commands yet"
        )
    store = connect(settings)
    journal = Journal.open(settings.data_dir / "journal") if settings.journal and taking else NoJournal()
    try:
        receiver = Receiver(settings, store, journal)
        async with Upkeep(receiver).running() if taking else contextlib.nullcontext():
            yield receiver
    finally:
        await journal.aclose()
        await store.aclose()
