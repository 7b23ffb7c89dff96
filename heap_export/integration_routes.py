"""Heap environments by API: added, looked at, changed, deleted. Whoever mounts the routes asks for the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Query

from heap_export.integrations import Integration, read_integration
from heap_export.removing import remove_integration

if TYPE_CHECKING:
    from foundation.store import Store
    from heap_export.integrations import Integrations
    from heap_export.settings import HeapExportSettings

Fields = Annotated[
    dict[str, Any],
    Body(description="; ".join(f"{n}: {f.description or n}" for n, f in Integration.model_fields.items())),
]


def integration_router(store: Store, settings: HeapExportSettings, integrations: Integrations) -> APIRouter:
    router = APIRouter(prefix="/v1/admin/integrations/heap")

    @router.post("", status_code=201)
    async def add(fields: Fields) -> dict[str, Any]:
        """At least `name` and `app_id`. Every process takes records for it within a second."""
        integration = read_integration(fields)
        await integrations.add(integration)
        return _described(integration)

    @router.get("")
    async def all_of_them() -> dict[str, Any]:
        await integrations.load()
        return {"integrations": [_described(each) for each in integrations.all]}

    @router.get("/{name}")
    async def one(name: str) -> dict[str, Any]:
        await integrations.load()
        return _described(integrations.named(name))

    @router.patch("/{name}")
    async def change(name: str, fields: Fields) -> dict[str, Any]:
        """What is left out stays as it is. Nothing that waits is lost, whatever is changed."""
        return _described(await integrations.change(name, fields))

    @router.delete("/{name}")
    async def remove(
        name: str, discard: Annotated[bool, Query(description="throw away what waits, and dead letters")] = False
    ) -> dict[str, Any]:
        """Delete it with its marks and its delivery log. Refused while something waits, unless that is to go too."""
        removed = await remove_integration(store, settings, integrations, name, discard=discard)
        return {"deleted": name, "discarded": removed._asdict()}

    return router


def _described(integration: Integration) -> dict[str, Any]:
    return integration.model_dump(mode="json")
