"""Proxies of the environment: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, and the hosts of `NO_PROXY` that go without.

httpx reads them by itself, but makes no client at all where one entry of NO_PROXY is a network of IPv6 (`fd00::/8`, as
clusters with both protocols have it) or stands in brackets, even where no proxy is set.
"""

from __future__ import annotations

import ipaddress
import logging
import urllib.request
from typing import TYPE_CHECKING, TypeVar

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)
Transport = TypeVar("Transport")


def proxy_mounts(transport_to: Callable[[str], Transport]) -> dict[str, Transport | None]:
    """What goes where, as httpx wants it: a transport, made by `transport_to` of a proxy's address, or None.

    An entry of NO_PROXY that can't be a host is left out, which the log says.
    """
    environment = urllib.request.getproxies()
    without = [entry.strip() for entry in environment.get("no", "").split(",") if entry.strip()]
    if "*" in without:
        return {}
    mounts: dict[str, Transport | None] = {}
    for scheme in ("http", "https", "all"):
        address = environment.get(scheme, "").strip()
        if address:
            mounts[f"{scheme}://"] = transport_to(address if "://" in address else f"http://{address}")
    for entry in without:
        pattern = _pattern(entry)
        try:
            httpx.URL(pattern)
        except httpx.InvalidURL:
            log.warning("NO_PROXY: %s is no host, and left out", entry)
        else:
            mounts[pattern] = None
    return mounts


def _pattern(entry: str) -> str:
    """`example.com` stands for all of its hosts, too, `.example.com` for these alone."""
    if "://" in entry:
        return entry
    try:
        address = ipaddress.ip_address(entry.removeprefix("[").removesuffix("]"))
    except ValueError:
        return f"all://{'' if entry.lower() == 'localhost' else '*'}{entry}"
    return f"all://[{address}]" if isinstance(address, ipaddress.IPv6Address) else f"all://{address}"
