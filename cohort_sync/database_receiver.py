"""The receiver over a database: a push is a fact on the disk before it is answered, then projected into the store."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from typing import TYPE_CHECKING

from attribute_lists.bodies import Names
from attribute_lists.names import is_account
from attribute_lists.projection.guard import UnguardedError, VersionConflictError
from attribute_lists.projection.projector import Projector
from cohort_sync.connect_flow import ConnectFlow
from cohort_sync.database_administration import DatabaseAdministration
from cohort_sync.database_connections import DatabaseConnections
from cohort_sync.metrics import Metrics
from cohort_sync.oauth_states import OAuthStates
from cohort_sync.pushes import DrainPush
from cohort_sync.sealing import open_sealer
from cohort_sync.store_checks import dangers
from cohort_sync.stores_ahead import lists_ahead, note_ahead
from cohort_sync.truth.database import DirectoryLock, check_filesystem, open_database
from cohort_sync.truth.facts import Drain, Page, Rules, Segment, open_facts
from cohort_sync.truth.folding.folder import Folder
from cohort_sync.truth.state import DatabaseTruth
from foundation.background import failed_tasks, keep_running
from foundation.errors import ConfigurationError, NotFoundError, UnavailableError
from foundation.store import STORE_ERRORS, connect
from foundation.tasks import Tasks, end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from cohort_sync.intake import Verified
    from cohort_sync.pushes import SyncPush
    from cohort_sync.settings import CohortSyncSettings
    from cohort_sync.truth.database import Database
    from cohort_sync.truth.facts import Accepted, Facts
    from cohort_sync.write_side import ListName
    from foundation.store import Store

log = logging.getLogger(__name__)

SOURCE = "heap"
_LONGEST_TOLERANCE = 2 * 86400  # seconds: the ordering window is twice that
_TEND_SECONDS = 60.0
_PROJECTED_SECONDS = 2.0  # for which an answer waits
_LOOK_SECONDS = 0.02
_READINESS_SECONDS = 1.0  # for the store, in an answer about readiness


class DatabaseReceiver:
    """Owns what both applications of cohort-sync share. Made by `open_database_receiver`."""

    def __init__(
        self,
        settings: CohortSyncSettings,
        store: Store,
        database: Database,
        truth: DatabaseTruth,
        facts: Facts,
        *,
        ahead: Mapping[ListName, str],
    ) -> None:
        self.settings = settings
        self.store = store
        self.metrics = Metrics()
        self.secrets = settings.webhook_secrets()
        self.admin_token = settings.administration_token()
        self.clock_is_doubtful = False
        self._database = database
        self._truth = truth
        self._facts = facts
        self.projector = Projector(
            store, truth, on_ahead=self._note_ahead, ahead=ahead, other_reasons=self._own_reasons
        )
        self._notes = Tasks(lambda error: log.error("a store that is ahead is not remembered: %s", error))
        self._folder = Folder(database)
        self._connections = DatabaseConnections(facts, store, is_ours=self._store_is_ours)
        self.administration = DatabaseAdministration(
            database,
            facts,
            store,
            stale_after=settings.stale_after,
            project=self._project,
            cleansed=self._cleansed,
            forget_persons=truth.forget_persons,
        )
        self.connecting = ConnectFlow(
            settings=settings,
            connections=self._connections,
            states=OAuthStates(store),
            sealer=open_sealer(settings.data_dir),
            admin_token=self.admin_token,
            complete=lambda: True,
        )

    @functools.cached_property
    def default_account(self) -> str:
        return self.settings.default_account

    async def take(self, verified: Verified) -> bool:
        push = verified.push
        account = self._connections.account_of_push(push.id_token, default=self.default_account)
        segment = Segment(account, SOURCE, push.segment_id, push.segment_name)
        if isinstance(push, DrainPush):
            accepted = await self._facts.accept_drain(Drain(segment, verified.signed_at))
        else:
            page = Page(
                segment=segment,
                names=Names(push.add, push.remove),
                digest=bytes.fromhex(verified.digest),
                task=push.task,
                number=push.page_number,
                total=push.total_pages,
                signed_at=verified.signed_at,
                skipped=push.skipped,
            )
            accepted = await self._facts.accept_page(page)
        self._report(push, accepted)
        return await self._project(accepted)

    async def reasons_for_concern(self) -> list[str]:
        return [*await self._dangers(), *self._own_reasons(), *self.projector.status().reasons()]

    async def write_checkpoint(self) -> int:
        raise NotFoundError("the database is its own checkpoint (WRITE_SIDE=database)", reason="no_checkpoints")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Project, fold and tend while the block runs."""
        async with self.projector.running():
            tasks = [
                keep_running("folding", self._folder.run),
                keep_running("upkeep of lists", self._tend),
            ]
            try:
                yield
            finally:
                await end(*tasks)
                await self._notes.end()

    async def _project(self, accepted: Accepted) -> bool:
        """Whether the store has it, at once or soon."""
        name = (accepted.account, accepted.list_id)
        if accepted.registry:
            self.projector.wake_registry()
        if not accepted.is_known:
            self.projector.wake(name)
        until = time.monotonic() + _PROJECTED_SECONDS
        if not await self.projector.caught_up(name, accepted.version, seconds=_PROJECTED_SECONDS):
            return False
        if not accepted.registry:
            return True
        # Who asks by an alias must find it, too.
        number = await self._truth.registry_number()
        return await self.projector.registry_caught_up(number, seconds=max(0.0, until - time.monotonic()))

    async def _cleansed(self, erasure: int, seconds: float) -> bool:
        """Whether no set in the store holds anybody who was erased up to that number, now or within so long."""
        if seconds:
            self.projector.wake_all()
        until = time.monotonic() + seconds
        while self.projector.not_cleansed(erasure) and time.monotonic() < until:  # noqa: ASYNC110 - of all lists
            await asyncio.sleep(_LOOK_SECONDS)
        return not self.projector.not_cleansed(erasure)

    async def _store_is_ours(self) -> bool:
        """Whether nobody else's registry is in the store, as far as that can be told now."""
        try:
            return await self.projector.registry_is_ours()
        except (VersionConflictError, UnguardedError, UnavailableError):
            return False

    def _note_ahead(self, name: ListName, version: str) -> None:
        log.error(
            "list %s:%s in the store was never written by this database (it shows %s): it is left as it is",
            *name,
            version,
        )
        self._notes.begin(self._database.write(lambda connection: note_ahead(connection, name, version)))

    async def _tend(self) -> None:
        while True:
            for accepted in await self._facts.finish_quiet_snapshots():
                await self._project(accepted)
            await self.administration.finish_erasures()  # also where nothing else can be written
            await self._facts.forget()
            await self._connections.show()
            await asyncio.sleep(_TEND_SECONDS)

    async def _dangers(self) -> list[str]:
        """Whoever asks for readiness waits for no store; that it is away, or hangs, the projection says."""
        if self.projector.status().away is not None:
            return []
        try:
            async with asyncio.timeout(_READINESS_SECONDS):
                return await dangers(self.store, journal=True)
        except STORE_ERRORS:  # `TimeoutError` is one
            return []

    def _own_reasons(self) -> list[str]:
        found = failed_tasks()
        if self.clock_is_doubtful:
            found.append("clock: the last push was rightly signed and refused for its time; set this machine's clock")
        if self._facts.clock.is_doubtful:
            found.append("clock: an erasure is placed before this machine's time, which is far ahead of Heap's")
        trouble = self._database.trouble
        if trouble is not None:
            found.append(f"{trouble.reason}: {trouble}")
        found += [f"damaged: {what}" for what in self._folder.damaged.values()]
        return found

    def _report(self, push: SyncPush | DrainPush, accepted: Accepted) -> None:
        where = f"{accepted.account} {accepted.list_id} (segment {push.segment_id})"
        if accepted.is_known:
            self.metrics.pushes.labels("repeated").inc()
            log.info("%s: a repeated push, nothing to do", where)
            return
        if isinstance(push, DrainPush):
            self.metrics.pushes.labels("drained").inc()
            log.info("%s: drained", where)
            return
        self.metrics.pushes.labels("applied").inc()
        for change, count in (("added", len(push.add)), ("removed", len(push.remove)), ("skipped", push.skipped)):
            self.metrics.members.labels(change).inc(count)
        log.info(
            "%s: task %r page %d of %d: %d to add, %d to remove, %d skipped",
            *(where, push.task, push.page_number, push.total_pages, len(push.add), len(push.remove), push.skipped),
        )


@contextlib.asynccontextmanager
async def open_database_receiver(
    settings: CohortSyncSettings, *, waiting: Callable[[str], None] | None = None
) -> AsyncIterator[DatabaseReceiver]:
    """The receiver, once no other one uses `DATA_DIR`. `waiting` is told who does. Raises `ConfigurationError`."""
    if settings.heap_timestamp_tolerance > _LONGEST_TOLERANCE:
        raise ConfigurationError(
            f"HEAP_TIMESTAMP_TOLERANCE: at most {_LONGEST_TOLERANCE} seconds; pages are put into order for four days"
        )
    if not is_account(settings.default_account):
        where = "ACCOUNT_ID" if settings.account_id is not None else f"accountId in {settings.settings_file}"
        raise ConfigurationError(f"{where}: letters, digits, _ and - only, 1 to 64 of them")
    check_filesystem(settings.data_dir, any_filesystem=settings.data_dir_any_filesystem)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(await DirectoryLock.wait(settings.data_dir, held_by=waiting))
        store = connect(settings)
        stack.push_async_callback(store.aclose)
        database = await stack.enter_async_context(open_database(settings.data_dir))
        truth = DatabaseTruth(database)
        facts = await open_facts(
            database,
            size_of=truth.size_of,
            size_of_snapshot=truth.size_of_snapshot,
            rules=Rules(max_shrink=settings.snapshot_max_shrink, is_active=settings.auto_activate),
        )
        ahead = await database.read(lists_ahead)
        receiver = DatabaseReceiver(settings, store, database, truth, facts, ahead=ahead)
        await stack.enter_async_context(receiver.running())
        yield receiver
