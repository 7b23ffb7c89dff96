"""How the delivery fares, what became of records, and what is kept of people. Whoever mounts it asks for the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from heap_export.delivery_log import Outcome  # noqa: TC001 - FastAPI reads the types of parameters
from heap_export.erasing import ELSEWHERE, checked_person, erase_person
from heap_export.kept import ROW, Kept

if TYPE_CHECKING:
    from foundation.store import Store
    from heap_export.integrations import Integrations
    from heap_export.kept import Page
    from heap_export.settings import HeapExportSettings

_MOST_ROWS = 1000
_BEFORE = f"^({ROW})?$"

Name = Annotated[str | None, Query(description="only this integration")]
Count = Annotated[int, Query(ge=1, le=_MOST_ROWS, description="rows of each integration, the newest first")]
Before = Annotated[str, Query(pattern=_BEFORE, description="`next` of the page before")]


class _Question(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Person(_Question):
    """An identity, as Heap has it. In a body, never in an address, which would end up in logs."""

    id: str = Field(min_length=1, max_length=1024)


class PersonsLog(Person):
    integration: str | None = None
    outcome: Outcome | None = None
    count: int = Field(default=100, ge=1, le=_MOST_ROWS)
    before: str = Field(default="", pattern=_BEFORE)


class Letters(_Question):
    """Which dead letters: those of one `reason`, those of one `integration`; all, where these are left out."""

    reason: str = Field(default="", pattern=r"^[a-z0-9_]{0,100}$")
    integration: str | None = None


def admin_router(store: Store, settings: HeapExportSettings, integrations: Integrations) -> APIRouter:
    router = APIRouter(prefix="/v1/admin")
    kept = Kept(store, settings, integrations)

    @router.get("/status")
    async def status() -> dict[str, Any]:
        return await kept.status()

    @router.get("/log")
    async def log(
        integration: Name = None, outcome: Outcome | None = None, count: Count = 100, before: Before = ""
    ) -> dict[str, Any]:
        return _shown(await kept.log(count, integration=integration, before=before, outcome=outcome))

    @router.post("/log")
    async def log_of_person(question: PersonsLog) -> dict[str, Any]:
        """The same for one person."""
        fields = question.model_dump(exclude={"id", "count"})
        return _shown(await kept.log(question.count, person=checked_person(question.id), **fields))

    @router.get("/dead")
    async def dead(
        integration: Name = None, reason: str = "", count: Count = 100, before: Before = ""
    ) -> dict[str, Any]:
        """Dead letters: why, when, of what; with the SHA-256 of their bodies, and without the person."""
        return _shown(await kept.dead(count, integration=integration, before=before, reason=reason))

    @router.post("/dead/retry")
    async def retry(letters: Letters) -> dict[str, Any]:
        """Send them again, behind what waits."""
        return {"retried": await kept.retry(letters.reason, integration=letters.integration)}

    @router.post("/dead/purge")
    async def purge(letters: Letters) -> dict[str, Any]:
        """Throw them away."""
        return {"purged": await kept.purge(letters.reason, integration=letters.integration)}

    @router.post("/erase")
    async def erase(person: Person) -> dict[str, Any]:
        """Delete everything that is kept of one person; the receipt says how much that was."""
        erased = await erase_person(store, settings, integrations, checked_person(person.id))
        return erased._asdict() | {"elsewhere": ELSEWHERE}

    return router


def _shown(pages: dict[str, Page]) -> dict[str, Any]:
    return {"integrations": {name: page._asdict() for name, page in pages.items()}}
