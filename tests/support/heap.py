"""Pushes as Heap sends them."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from cohort_sync.signature import HEADER, sign
from local_stack.sample_push import build_drain, build_push
from tests.support import http

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx

SECRET = "whsec_test"
SEGMENT_ID = 1338065

_tasks = itertools.count(1)


class Heap:
    """Heap's side of the wire. `address` is the root of cohort-sync's public port."""

    def __init__(self, address: str, *, secret: str = SECRET) -> None:
        self.address = f"{address}/webhooks/heap"
        self.secret = secret

    def send(
        self, body: bytes, *, header: str | None = None, age: float = 0.0, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """POST `body`, signed `age` seconds ago unless `header` is given."""
        header = sign(self.secret, body, timestamp_ms=int((time.time() - age) * 1000)) if header is None else header
        sent = {"Content-Type": "application/json", HEADER: header} | (headers or {})
        return http.post(self.address, content=body, headers=sent)

    def sync(
        self,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        *,
        name: str = "Premium Users",
        segment_id: int | str = SEGMENT_ID,
        task: str | None = None,
        page: int = 1,
        pages: int = 1,
        age: float = 0.0,
    ) -> httpx.Response:
        """Send one page; a fresh task unless one is given."""
        body = build_push(
            segment_id=segment_id,
            segment_name=name,
            task=task or f"task-{next(_tasks)}",
            add=list(add),
            remove=list(remove),
            page=page,
            pages=pages,
        )
        return self.send(body, age=age)

    def drain(
        self, *, name: str = "Premium Users", segment_id: int | str = SEGMENT_ID, age: float = 0.0
    ) -> httpx.Response:
        return self.send(build_drain(segment_id=segment_id, segment_name=name), age=age)
