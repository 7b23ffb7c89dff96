"""The receivers of the crash test: real processes on one store and one DATA_DIR, killed and started again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from tests.support import http
from tests.support.heap import SECRET
from tests.support.processes import Program, cohort_sync

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ACCOUNT = "123456"
_TOKEN = "admin-token-of-the-crash-test"


class Receiver:
    """One cohort-sync, always on the ports that it had at first. `settings`: further ones."""

    def __init__(self, directory: Path, store_url: str, settings: Mapping[str, str]) -> None:
        self._directory = directory
        self._settings = {
            "REDIS_URL": store_url,
            "HEAP_WEBHOOK_SECRET": SECRET,
            "ADMIN_TOKEN": _TOKEN,
            "SNAPSHOT_MAX_SHRINK": "1",  # no snapshot waits for an operator
            **settings,
        }
        self._addresses: list[str] = []
        self._program: Program | None = None
        self._running = contextlib.ExitStack()
        self._earlier_lines: list[str] = []

    @property
    def address(self) -> str:
        return self._addresses[0]

    def start(self) -> None:
        self._program = self._running.enter_context(cohort_sync(self._directory, self._settings))
        self._addresses = self._program.addresses
        ports = [str(urlsplit(address).port) for address in self._addresses]
        self._settings |= {"COHORT_SYNC_PORT": ports[0], "COHORT_SYNC_ADMIN_PORT": ports[1]}

    def kill(self) -> None:
        if self._program is not None:
            self._program.kill()
            self._earlier_lines = self.said()
            self._program = None
        self._running.close()

    def said(self) -> list[str]:
        """The last lines of its log, across restarts."""
        return (self._earlier_lines + (self._program.lines if self._program else []))[-2000:]

    def concerns(self) -> list[str]:
        """Why it isn't ready; empty when it says that all is well."""
        try:
            answer = http.get(f"{self._addresses[1]}/readyz").json()
        except httpx.HTTPError as error:
            return [f"no answer: {type(error).__name__}"]
        return [] if answer["status"] == "ok" else [str(reason) for reason in answer["reasons"]]

    def admin(self, method: str, path: str, body: Any = None) -> httpx.Response | None:
        """None: nobody answered."""
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        try:
            return http.request(method, f"{self._addresses[1]}/admin/api/v1{path}", headers=headers, json=body)
        except httpx.HTTPError:
            return None
