"""The settings of accounts at the small VWO of the tests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.fake_vwo import Answer, FakeVwo, Request
from tests.support.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

POLLED, PULLED = "/server-side/v2-settings", "/server-side/v2-pull"
ACCOUNT, KEY = "123456", "the-sdk-key-of-the-tests"


def document(account: str = ACCOUNT, key: str = KEY, **changes: Any) -> dict[str, Any]:
    """The sample settings as those of another environment."""
    sample: dict[str, Any] = json.loads((ROOT / "examples" / "settings.json").read_bytes())
    return sample | {"accountId": account, "sdkKey": key} | changes


@dataclass
class VwoSettings:
    """What `vwo` answers for each account and SDK key; others get 400. With `etags`, what is known is not sent."""

    vwo: FakeVwo
    etags: bool = True
    documents: dict[tuple[str, str], Mapping[str, Any] | bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in (POLLED, PULLED):
            self.vwo.routes[path] = self._answer

    def put(self, account: str = ACCOUNT, key: str = KEY, **changes: Any) -> dict[str, Any]:
        """Publish settings; returns them."""
        published = document(account, key, **changes)
        self.documents[account, key] = published
        return published

    def asked(self, path: str | None = None, key: str | None = None) -> list[Request]:
        """The requests for settings so far."""
        return [
            request
            for request in list(self.vwo.requests)
            if request.path in ([POLLED, PULLED] if path is None else [path])
            and (key is None or request.parameters.get("i") == key)
        ]

    def _answer(self, request: Request) -> Answer:
        found = self.documents.get((request.parameters.get("a", ""), request.parameters.get("i", "")))
        if found is None:
            return Answer(400, b'{"error":"no such account or key"}')
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        etag = f'"{hash(body)}"'
        if not self.etags:
            return Answer(200, body)
        if request.headers.get("if-none-match") == etag:
            return Answer(304, b"", {"ETag": etag})
        return Answer(200, body, {"ETag": etag})
