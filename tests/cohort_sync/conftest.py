from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import http
from tests.support.heap import SECRET, Heap
from tests.support.processes import Program, cohort_sync, wait_until_recovered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

TOKEN = "admin-token-of-the-tests"


@dataclass
class Service:
    """A running cohort-sync, as Heap and as an operator see it."""

    program: Program
    heap: Heap
    settings: dict[str, str]

    @property
    def admin_address(self) -> str:
        return self.program.addresses[1]

    def admin(self, method: str, path: str, *, token: str = TOKEN, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return http.request(method, self.admin_address + path, headers=headers, **options)

    def described(self, name: str = "heap_premium_users", account: str = "123456") -> dict[str, Any]:
        answer = self.admin("GET", f"/admin/api/v1/lists/{account}/{name}")
        assert answer.status_code == 200, answer.text
        described: dict[str, Any] = answer.json()
        return described

    def lists(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.admin("GET", "/admin/api/v1/lists").json()["lists"]
        return found


@pytest.fixture
def settings(store_url: str) -> dict[str, str]:
    return {
        "REDIS_URL": store_url,
        "HEAP_WEBHOOK_SECRET": f"{SECRET}, the_next_secret",
        "ADMIN_TOKEN": TOKEN,
        "MAX_WEBHOOK_BYTES": "2000000",
    }


@pytest.fixture
def service(tmp_path: Path, settings: dict[str, str]) -> Iterator[Service]:
    with cohort_sync(tmp_path, settings) as program:
        wait_until_recovered(program)
        yield Service(program, Heap(program.address), settings)
        program.kill()  # nobody looks at how it ends, which would take a while
