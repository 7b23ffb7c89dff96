"""A background task that fails is said, and runs again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from foundation import background
from foundation.background import failed_tasks, keep_running
from foundation.tasks import end
from gateway.app import create_app
from gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _nothing_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_failed_at", {})
    monkeypatch.setattr(background, "_FIRST_PAUSE", 0.01)


@pytest.mark.parametrize("fault", [ValueError("unforeseen"), KeyError("x"), OSError(24, "Too many open files"), None])
async def test_it_runs_again_and_readiness_knows(fault: Exception | None, caplog: pytest.LogCaptureFixture) -> None:
    """Also one that just ends."""
    again = asyncio.Event()
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs > 1:
            again.set()
            await asyncio.Event().wait()
        if fault is not None:
            raise fault

    task = keep_running("trial", work)
    await again.wait()
    assert failed_tasks() == ["task_failed: trial"]
    assert any("background task trial" in line for line in caplog.messages)
    await end(task)
    assert task.cancelled()


async def test_what_lies_long_back_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_SHOWN_SECONDS", 0.0)
    monkeypatch.setattr(background, "_failed_at", {"trial": 0.0})
    assert failed_tasks() == []


async def test_the_gateway_goes_on_and_says_which_task_failed(
    tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = asyncio.Event()

    async def fail(_: object) -> None:
        failed.set()
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("gateway.publishing.Publishing._publish_all", fail)
    monkeypatch.setattr("gateway.publishing.log.exception", lambda *_: (_ for _ in ()).throw(RuntimeError("again")))
    app = create_app(GatewaySettings(redis_url=store_url, data_dir=tmp_path))
    async with app.router.lifespan_context(app):
        await failed.wait()
        await asyncio.sleep(0)
        assert "task_failed: publication of settings" in failed_tasks()
