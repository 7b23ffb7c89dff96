"""Which Heap environments get what, kept in Redis, so that one can be added without a restart."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from foundation.background import keep_running
from foundation.errors import BadRequestError, ConflictError, NotFoundError
from foundation.scripts import run_script
from foundation.settings import HttpAddress  # noqa: TC001 - pydantic reads the types of the fields
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from foundation.tasks import end
from heap_export.records import Source
from heap_export.shapes import HEAP, HEAP_EU

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from foundation.store import Store
    from heap_export.settings import HeapExportSettings

log = logging.getLogger(__name__)

DEFAULT = "default"  # the name of the one that HEAP_APP_ID makes

_KEYS = (
    "cg:heap:{all}:integrations",  # hash: name -> the integration's JSON
    "cg:heap:{all}:used",  # set of `app id:dedupe_seconds`, each that was ever used: so what is kept can be found
    "cg:heap:{all}:environment",  # string: the one that HEAP_APP_ID makes where a service runs, as JSON; expires
)
_RELOAD_SECONDS = 1.0
FOLLOWED_SECONDS = 2.5  # after which every process that reaches the store knows of a change, and has acted on it

# KEYS as above. ARGV: the one that HEAP_APP_ID makes, as JSON, or nothing; what it uses. Gives all.
_LOAD = """
if ARGV[1] ~= '' then
  if redis.call('SISMEMBER', KEYS[2], ARGV[2]) == 0 then redis.call('SADD', KEYS[2], ARGV[2]) end
  if redis.call('GET', KEYS[3]) ~= ARGV[1] or redis.call('TTL', KEYS[3]) < 30 then
    redis.call('SET', KEYS[3], ARGV[1], 'EX', 60)
  end
end
return {redis.call('HGETALL', KEYS[1]), redis.call('SMEMBERS', KEYS[2]), redis.call('GET', KEYS[3])}
"""

# KEYS as above. ARGV: name, JSON, app id, the JSON that it replaces or nothing, what it uses. Gives what is in the way:
# `name` (that one is another now) or `app_id` (another one has it). The row of the one that HEAP_APP_ID makes may be
# left from another app id.
_PUT = f"""
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[4] then return 'name' end
local all = redis.call('HGETALL', KEYS[1])
for n = 1, #all, 2 do
  if all[n] ~= ARGV[1] and all[n] ~= '{DEFAULT}' and cjson.decode(all[n + 1]).app_id == ARGV[3] then
    return 'app_id'
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[5])
return ''
"""


def _plain(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9_-]{1,40}", value):
        raise ValueError("is made of a-z, 0-9, _ and - (40 at the most)")
    return value


AppId = Annotated[str, AfterValidator(_plain)]
Name = Annotated[str, AfterValidator(_plain)]


class Integration(BaseModel):
    """A Heap environment and what it gets. `name` is ours, `app_id` is Heap's."""

    # Heap's ids look like numbers, and are sent as such now and then.
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    name: Name
    app_id: AppId
    base: HttpAddress = Field(default=HEAP, description=f"Heap's own address; {HEAP_EU} for data that stays in the EU")
    enabled: bool = Field(default=True, description="false: takes nothing, and what waits goes on waiting")
    sources: tuple[Source, ...] = Field(default=tuple(Source), description="whose records it gets")
    events: bool = Field(default=True, description="send the event `Experiment Viewed` for an exposure")
    user_properties: bool = Field(default=True, description="set the user property `[Source] flag` for an exposure")
    dedupe_seconds: int = Field(
        default=0,
        ge=0,
        le=366 * 86_400,
        description="an exposure of a person to the same variation counts anew in each such period; 0: once for good",
    )
    events_per_minute: int = Field(default=15_000, ge=60, le=10_000_000, description="that Heap takes for this app id")
    events_per_minute_of_person: int = Field(
        default=1_000, ge=6, le=10_000_000, description="that Heap takes for one identity"
    )

    def takes(self, source: Source) -> bool:
        return self.enabled and source in self.sources


class Integrations:
    """All of them, as they were a second ago at the most while `running`.

    `default`: the one that HEAP_APP_ID makes. What an operator changed of it counts for as long as that names it.
    `adopts`: where there is none, as in another terminal, that of the services that run is taken.
    """

    def __init__(self, store: Store, *, default: Integration | None = None, adopts: bool = False) -> None:
        self._store = store
        self._own = self._default = default
        self._adopts = adopts
        self._known: dict[str, Integration] = {default.name: default} if default else {}
        self._rows: dict[str, bytes] = {}
        self._used: dict[str, set[int]] = {}
        self._is_loaded = False

    @property
    def is_loaded(self) -> bool:
        """Whether the store has told which there are."""
        return self._is_loaded

    @property
    def all(self) -> Sequence[Integration]:
        return tuple(self._known.values())

    def named(self, name: str) -> Integration:
        """Raises `NotFoundError`."""
        try:
            return self._known[name]
        except KeyError:
            raise NotFoundError(f"there is no integration {name!r}; GET /v1/admin/integrations/heap has all") from None

    @property
    def used(self) -> Mapping[str, AbstractSet[int]]:
        """Every app id for which something may be kept, and the `dedupe_seconds` that it ever had."""
        return self._used

    def is_made_by_environment(self, name: str) -> bool:
        return self._default is not None and name == self._default.name and name in self._known

    async def add(self, integration: Integration) -> None:
        """Raises `ConflictError` and the store's errors."""
        await self.load()
        if integration.name == DEFAULT:
            raise ConflictError(f"name: {DEFAULT!r} is for the one that HEAP_APP_ID makes", reason="name_taken")
        if integration.name in self._known:
            raise ConflictError("name: another integration has it already; change that one", reason="name_taken")
        await self._put(integration)

    async def change(self, name: str, fields: Mapping[str, Any]) -> Integration:
        """Set `fields` of one; all that others keep is left as it is.

        Raises `NotFoundError`, `BadRequestError`, `ConflictError` and the store's errors.
        """
        await self.load()
        was = self.named(name)
        integration = read_integration(was.model_dump() | dict(fields))
        for field in ("name", "app_id"):
            if getattr(integration, field) != getattr(was, field):
                raise ConflictError(
                    f"{field}: stays as it is; add another integration, delete this one", reason="fixed"
                )
        if self.is_made_by_environment(name) and integration.base != was.base:
            raise ConflictError("base: HEAP_API_BASE says it for this integration", reason="made_by_environment")
        await self._put(integration)
        return integration

    def check_removable(self, name: str) -> None:
        """Raises `ConflictError` for the one that HEAP_APP_ID makes."""
        if self.is_made_by_environment(name):
            raise ConflictError(
                "HEAP_APP_ID makes this integration: unset it and restart", reason="made_by_environment"
            )

    async def forget(self, name: str) -> None:
        """Take it out of the list; what is kept for its app id must be gone already.

        Raises `NotFoundError`, `ConflictError` and the store's errors.
        """
        app_id = self.named(name).app_id
        self.check_removable(name)
        await self._store.execute_command("HDEL", _KEYS[0], name)
        uses = [f"{app_id}:{seconds}" for seconds in self._used.get(app_id, ())]
        if uses:
            await self._store.execute_command("SREM", _KEYS[1], *uses)
        await self.load()

    async def load(self) -> None:
        """Raises the store's errors."""
        own = [self._own.model_dump_json(), _use(self._own)] if self._own else ["", ""]
        flat, used, theirs = await run_script(self._store, _LOAD, _KEYS, own)
        self._default = default = self._own or (_read_row(theirs) if theirs and self._adopts else None)
        rows = {name.decode(): body for name, body in zip(flat[::2], flat[1::2], strict=True)}
        known: dict[str, Integration] = {}
        for name, body in rows.items():
            integration = _read_row(body)
            if integration is not None:
                known[name] = integration
            elif self._rows.get(name) != body:
                log.error("integration %r can't be read and is left out; add it again", name)
        changed = known.pop(DEFAULT, None)
        if default and all(other.app_id != default.app_id for other in known.values()):
            if changed and changed.app_id == default.app_id:
                default = changed.model_copy(update={"base": default.base})
            known = {default.name: default} | known
        self._known, self._rows, self._is_loaded = known, rows, True
        self._used = {}
        for app_id, _, seconds in (use.decode().partition(":") for use in used):
            self._used.setdefault(app_id, set()).add(int(seconds))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the changes that other processes make while the block runs."""
        with contextlib.suppress(*STORE_ERRORS):
            await self.load()
        following = keep_running("integrations", self._follow)
        try:
            yield
        finally:
            await end(following)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_RELOAD_SECONDS)
            try:
                await self.load()
            except STORE_ERRORS as error:
                log.debug("integrations can't be read now: %s", explain(error))

    async def _put(self, integration: Integration) -> None:
        others = (other for other in self._known.values() if other.name != integration.name)
        if any(other.app_id == integration.app_id for other in others):
            taken = "app_id"
        else:
            replaced = self._rows.get(integration.name, b"")
            row = [integration.name, integration.model_dump_json(), integration.app_id, replaced, _use(integration)]
            taken = (await run_script(self._store, _PUT, _KEYS, row)).decode()
        if taken == "name":
            raise ConflictError("somebody else changed this integration just now; look at it again", reason="changed")
        if taken:
            raise ConflictError("app_id: another integration has it already; change that one", reason="app_id_taken")
        await self.load()


def default_integration(settings: HeapExportSettings) -> Integration | None:
    """The one that the environment makes, where it names an app id."""
    if settings.heap_app_id is None:
        return None
    return Integration(name=DEFAULT, app_id=settings.heap_app_id, base=settings.heap_api_base)


def integrations_seen_by_tools(store: Store, settings: HeapExportSettings) -> Integrations:
    """For commands, which often run without the service's environment."""
    return Integrations(store, default=default_integration(settings), adopts=True)


def read_integration(fields: Mapping[str, Any]) -> Integration:
    """Raises `BadRequestError`, which names each field and what is wrong with it."""
    try:
        return Integration.model_validate(dict(fields))
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        raise BadRequestError("; ".join(problems)) from None


def _read_row(row: bytes) -> Integration | None:
    try:
        return Integration.model_validate_json(row)
    except ValidationError:
        return None


def _use(integration: Integration) -> str:
    return f"{integration.app_id}:{integration.dedupe_seconds}"
