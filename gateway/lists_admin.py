"""`GET /admin/api/v1/lists`: which flags refer to which list, and which lists the settings name in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from attribute_lists.definitions import Definitions
from foundation.store import STORE_ERRORS
from foundation.store_trouble import unavailable
from gateway.decisions_description import WHOSE, error_responses
from gateway.decisions_routes import whose
from gateway.published_settings import references

if TYPE_CHECKING:
    from foundation.store import Store
    from gateway.decisions_settings import DecisionSettings
    from published.references import Reference


def lists_router(settings: DecisionSettings, store: Store) -> APIRouter:
    """Whoever mounts it asks for the token."""
    router = APIRouter(prefix="/admin/api/v1")
    definitions = Definitions(store)

    @router.get(
        "/lists",
        summary="Lists, the flags that refer to them, and the lists that are missing",
        openapi_extra={"parameters": WHOSE},
        responses=error_responses(
            {
                400: "no such account or SDK key",
                401: "the admin token is missing or wrong",
                503: "there are no settings, or the store is away or busy",
            }
        ),
    )
    async def lists(request: Request) -> dict[str, Any]:
        current = await settings.settings_for(*whose(request))
        account = current.account_id
        try:
            known = [list_id for owner, list_id in await definitions.lists() if owner == account]
            aliases = await definitions.aliases()
        except STORE_ERRORS as error:
            raise unavailable(error) from None
        by_list = {list_id: aliases.get((account, list_id), []) for list_id in known}
        return {
            "account": account,
            "settingsVersion": current.version,
            **_compare(list(references(current.document)), by_list),
        }

    return router


def _compare(found: list[Reference], lists: dict[str, list[str]]) -> dict[str, Any]:
    flags = {list_id: _flags(found, {list_id, *aliases}) for list_id, aliases in lists.items()}
    unused = [list_id for list_id, refer in flags.items() if not refer]
    names = {name for list_id, aliases in lists.items() for name in (list_id, *aliases)}
    missing = dict.fromkeys(one.name for one in found if one.name not in names)
    return {
        "lists": [{"list": name, "aliases": aliases, "flags": flags[name]} for name, aliases in lists.items()],
        "missing": [
            {"name": name, "flags": _flags(found, {name}), "candidates": unused, "cure": _cure(name, unused)}
            for name in missing
        ],
    }


def _flags(found: list[Reference], names: set[str]) -> list[dict[str, str]]:
    return [
        {"flag": one.flag, "rule": one.rule, "variable": one.variable, "name": one.name}
        for one in found
        if one.name in names
    ]


def _cure(name: str, unused: list[str]) -> str:
    """The command that makes `name` an alias; which list it means only the operator knows, unless one alone is left."""
    target = unused[0] if len(unused) == 1 else "LIST"
    return f"cohort-sync segments set {target} --alias {name}"
