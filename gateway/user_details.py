"""Answer `/get-user-details`: what a user agent tells, and where an address is."""

from __future__ import annotations

import asyncio
import functools
import re
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import APIRouter, Request, Response
from ua_parser import Domain, load_lazy_builtins
from ua_parser.regex import Resolver

from gateway.addresses import bare_address

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from ua_parser import OS, Device, UserAgent

    from gateway.locations import Locations

PATH = "/get-user-details"

_LONGEST_USER_AGENT = 1024  # characters that are looked at; real ones stay below 500
_REMEMBERED = 4096  # answers; with their keys a few megabytes

_OPENAPI: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": "query", "description": f"{what} of the visitor", "schema": {"type": "string"}}
        for name, what in (("userAgent", "user agent"), ("ipAddress", "address"))
    ]
}

# The parser's name for it is older than Apple's own.
_OS_NAMES = {"Mac OS X": "macOS"}
_DESKTOP_OS = frozenset(
    ("Windows", "Mac OS X", "Linux", "Chrome OS", "Ubuntu", "Fedora", "Debian", "FreeBSD", "OpenBSD", "NetBSD")
)
# Amazon's tablets by their models (KFTT), and by their browser, which says `Mobile`; its one phone had that, too.
_TABLET = re.compile(r"iPad|Tablet|Kindle|Nexus (?:7|9|10)\b|; KF[A-Z]{2,6}\b|\bSilk/", re.IGNORECASE)
_FIRE_PHONE = "SD4930"
_MOBILE = re.compile(r"Mobi|iPhone|iPod|Phone|BlackBerry|Opera Mini", re.IGNORECASE)
_TELEVISION = re.compile(r"TV|AFT[A-Z]|BRAVIA|Roku", re.ASCII)


class UserAgents:
    """Describes user agents in the words of VWO's segments.

    The rules take 26 MB and are compiled (a fifth of a second) for the first one that is not empty.
    """

    def __init__(self) -> None:
        self._describe = functools.lru_cache(_REMEMBERED)(self._parse)

    def describe(self, user_agent: str) -> dict[str, str]:
        """What is known; `os_version` and `browser_version` are always there, since PHP reads them unguarded."""
        return self._describe(user_agent[:_LONGEST_USER_AGENT])

    @functools.cached_property
    def _resolver(self) -> Resolver:
        return Resolver(load_lazy_builtins())

    def prepare(self) -> None:
        """Compile the rules, where that has not been done: for a thread, beside which others go on for most of it."""
        assert self._resolver  # noqa: S101 - made by looking at it

    @property
    def is_prepared(self) -> bool:
        return "_resolver" in self.__dict__

    def _parse(self, user_agent: str) -> dict[str, str]:
        if not user_agent:  # what Node sends for every flag with a list
            return {"os_version": "", "browser_version": ""}
        found = self._resolver(user_agent, Domain.ALL)
        os, browser, device = found.os, found.user_agent, found.device
        kind = _device_type(user_agent, os, device)
        known = {
            "os": _OS_NAMES.get(os.family, os.family) if os else None,
            "browser_string": browser.family if browser else None,
            "device_type": kind,
            "device": "Other" if kind == "desktop" else device.family if device else None,
        }
        versions = {"os_version": _version(os), "browser_version": _version(browser)}
        return {name: value for name, value in known.items() if value} | versions


def _version(product: OS | UserAgent | None) -> str:
    if product is None:
        return ""
    parts = (product.major, product.minor, product.patch, product.patch_minor)
    return ".".join(part for part in parts if part)


def _device_type(user_agent: str, os: OS | None, device: Device | None) -> str | None:
    family = os.family if os else None
    if _TELEVISION.search(user_agent) or (device and device.family == "Spider"):
        return None
    if (_TABLET.search(user_agent) and _FIRE_PHONE not in user_agent) or (device and device.family == "iPad"):
        return "tablet"
    if _MOBILE.search(user_agent):
        return "mobile"
    if family == "Android":
        # Browsers on Android say `Mobile` on phones alone; apps (Dalvik) leave it out everywhere.
        return "mobile" if user_agent.startswith("Dalvik") else "tablet"
    if family == "iOS":
        return "mobile"
    return "desktop" if family in _DESKTOP_OS else None


class UserDetails:
    """What `/get-user-details` says. `trusted_proxies`: how many in front of us add to `X-Forwarded-For`."""

    def __init__(self, user_agents: UserAgents, locations: Locations, *, trusted_proxies: int = 0) -> None:
        self._user_agents = user_agents
        self._locations = locations
        self._trusted_proxies = trusted_proxies

    async def describe(self, user_agent: str, address: str) -> dict[str, dict[str, str]]:
        """`location` and `userAgent`, as far as they are known; never an error."""
        if user_agent and not self._user_agents.is_prepared:
            await asyncio.to_thread(self._user_agents.prepare)
        return {"location": self._locations.locate(address), "userAgent": self._user_agents.describe(user_agent)}

    async def answer(self, request: Request) -> bytes:
        """What is answered at `PATH`."""
        query = request.query_params
        address = query.get("ipAddress") or self.forwarded_address(request.headers)
        return msgspec.json.encode(await self.describe(query.get("userAgent", ""), address))

    def forwarded_address(self, headers: Headers) -> str:
        """The address that the outermost of our proxies saw; empty where none is trusted.

        Everything in front of it was written by whoever sent the request.
        """
        if not self._trusted_proxies:
            return ""
        hops = ",".join(headers.getlist("x-forwarded-for")).split(",")
        return bare_address(hops[-self._trusted_proxies]) if len(hops) >= self._trusted_proxies else ""


def user_details_router(details: UserDetails) -> APIRouter:
    router = APIRouter()

    async def get_user_details(request: Request) -> Response:
        return Response(await details.answer(request), media_type="application/json")

    router.add_api_route(
        PATH,
        get_user_details,
        methods=["GET"],
        summary="Browser, system and device of a user agent, and where an address is",
        response_model=None,
        openapi_extra=_OPENAPI,
    )
    return router
