"""A gateway that decides: its settings are a file that tests may change, its events stay where tests can read them."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import redis
from prometheus_client.parser import text_string_to_metric_families

from event_stream import keys
from gateway.event_queue import NAME
from tests.support import processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.processes import Program

TOKEN = "the admin token of the tests"


@dataclass
class Deciding:
    """`client` sends requests to it."""

    program: Program
    client: httpx.Client
    store: redis.Redis
    settings_file: Path
    _last: bytes = field(default=b"-")

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """`body`: bytes as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, content=raw, headers={"Content-Type": "application/json", **(headers or {})})

    def as_operator(self, method: str, path: str, body: Any = None) -> httpx.Response:
        content = None if body is None else json.dumps(body).encode()
        return self.client.request(method, path, content=content, headers={"Authorization": f"Bearer {TOKEN}"})

    def use(self, settings: Mapping[str, Any]) -> None:
        """Decide with these from now on."""
        self.settings_file.write_text(json.dumps(settings))
        assert self.client.get("/server-side/v2-pull").is_success

    def events(self) -> list[dict[str, Any]]:
        """Events that were sent since this was asked last."""
        found: Any = self.store.xrange(keys.entries(NAME), min=self._last, max=b"+")
        if found:
            self._last = b"(" + found[-1][0]
        return [json.loads(fields[b"body"]) for _, fields in found]

    def counted(self, metric: str) -> dict[str, float]:
        """What a counter says by its labels (the values, with commas between several)."""
        return {
            ",".join(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(self.client.get("/metrics").text)
            for sample in family.samples
            if sample.name == f"{metric}_total"
        }


@contextlib.contextmanager
def deciding(directory: Path, store_url: str, settings: Mapping[str, Any], **more: str) -> Iterator[Deciding]:
    """`more`: further environment variables."""
    file = directory / "settings.json"
    file.write_text(json.dumps(settings))
    chosen = {
        "REDIS_URL": store_url,
        "SETTINGS_FILE": str(file),
        "FORWARD_EVENTS": "true",
        "FORWARD_HERE": "false",
        "ADMIN_TOKEN": TOKEN,
        **more,
    }
    with (
        processes.gateway(directory, chosen) as program,
        httpx.Client(base_url=program.address, timeout=30, trust_env=False) as client,
        redis.Redis.from_url(store_url) as store,
    ):
        yield Deciding(program, client, store, file)
