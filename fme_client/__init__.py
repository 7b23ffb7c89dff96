"""The Python SDK: what `vwo-fme-node-sdk` is to Node. It needs `requests` and `mmh3`, and nothing else of this project.

    client = fme_client.init(account_id="123456", sdk_key="...", gateway_service={"url": "http://127.0.0.1:8000"})
    flag = client.get_flag("premium_dashboard", {"id": "user-1", "custom_variables": {"heap_user_id": "alice"}})
    flag.is_enabled()

docs/python-client.md has every option, and what happens when the gateway is away.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fme_client.client import Client, init
    from fme_client.errors import ContextError, FmeClientError, NetworkError, OptionError
    from fme_client.evaluation import Context
    from fme_client.flag import Flag
    from fme_client.identity import get_uuid, getUUID
    from fme_client.storage import Storage

__all__ = [
    "Client",
    "Context",
    "ContextError",
    "Flag",
    "FmeClientError",
    "NetworkError",
    "OptionError",
    "Storage",
    "getUUID",
    "get_uuid",
    "init",
]

_HOMES = {
    **dict.fromkeys(("Client", "init"), "client"),
    **dict.fromkeys(("ContextError", "FmeClientError", "NetworkError", "OptionError"), "errors"),
    "Context": "evaluation",
    "Flag": "flag",
    **dict.fromkeys(("getUUID", "get_uuid"), "identity"),
    "Storage": "storage",
}


def __getattr__(name: str) -> Any:
    """Names are found when they are asked for: who takes `evaluation` alone needs no `requests`, which takes 5 MB."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
