"""Start the store and the services, say where they are, and stop them in order."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cohort_sync.settings import CohortSyncSettings
from foundation.errors import ConfigurationError
from foundation.serving import reachable_host
from foundation.settings import load_settings
from foundation.store import describe_store
from gateway.settings import GatewaySettings
from heap_export.settings import HeapExportSettings
from local_stack import children
from local_stack.store import embedded_store

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

SAMPLE_SETTINGS = Path(__file__).resolve().parent.parent / "examples" / "settings.json"
START_SECONDS = 30.0
SERVICE_STOP_SECONDS = 1.5  # with the store's stop this stays below the 2 s that are promised


@dataclass(frozen=True)
class _Service:
    name: str
    command: list[str]
    health: str


def serve() -> int:
    """Run everything until SIGINT or SIGTERM (0), or until a service ends by itself (1).

    Raises `ConfigurationError` for what the operator must mend.
    """
    os.environ.update(_sample_settings())  # the services inherit it
    gateway, sync = load_settings(GatewaySettings), load_settings(CohortSyncSettings)
    export = load_settings(HeapExportSettings)
    services = _services(gateway, sync, export)
    watched: dict[str, subprocess.Popen[bytes]] = {}
    with _stop_signals(), contextlib.ExitStack() as stack:
        try:
            if gateway.uses_embedded_store:
                watched["store"] = stack.enter_context(embedded_store(gateway.data_dir))
            for service in services:
                watched[service.name] = children.start(service.command)
                stack.callback(children.stop, watched[service.name], seconds=SERVICE_STOP_SECONDS)
            for service in services:
                _wait_until_healthy(service, watched[service.name])
            _print_welcome(gateway, sync, export)
            print(f"error: {_wait_for_an_end(watched)}; stopping the rest.", file=sys.stderr, flush=True)
            return 1
        except _StopRequestedError:
            # The services get the word at once; leaving the stack waits for them, and stops the store after them.
            for service in services:
                if service.name in watched:
                    watched[service.name].terminate()
    return 0


class _StopRequestedError(Exception):
    """A signal asked us to stop."""


@contextlib.contextmanager
def _stop_signals() -> Iterator[None]:
    def stop(_number: int, _frame: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # stopping is under way; a second Ctrl-C must not cut it short
        raise _StopRequestedError

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        yield
    except _StopRequestedError:
        return


def _sample_settings() -> dict[str, str]:
    """The sample flag, where nobody chose settings: an installation that answers something from its first minute."""
    chosen = load_settings(GatewaySettings)
    if not chosen.names_settings and SAMPLE_SETTINGS.exists():
        return {"SETTINGS_FILE": str(SAMPLE_SETTINGS)}
    return {}


def _services(gateway: GatewaySettings, sync: CohortSyncSettings, export: HeapExportSettings) -> list[_Service]:
    services = [
        _Service("gateway", [sys.executable, "-m", "gateway", "serve"], _address(gateway.host, gateway.port)),
        _Service(
            "cohort-sync",
            [sys.executable, "-m", "cohort_sync", "serve"],
            _address(sync.cohort_sync_host, sync.cohort_sync_port),
        ),
    ]
    if export.heap_app_id is not None:
        address = _address(export.heap_export_host, export.heap_export_port)
        services.append(_Service("heap-export", [sys.executable, "-m", "heap_export", "serve"], address))
    return services


def _address(host: str, port: int) -> str:
    return f"http://{reachable_host(host)}:{port}"


def _wait_until_healthy(service: _Service, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise ConfigurationError(f"{service.name} stopped at its start; its message stands above")
        try:
            with urllib.request.urlopen(f"{service.health}/healthz", timeout=1):  # noqa: S310 - http, from our settings
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise ConfigurationError(f"{service.name} did not answer within {START_SECONDS:.0f} s at {service.health}")


def _wait_for_an_end(watched: dict[str, subprocess.Popen[bytes]]) -> str:
    by_pid = {child.pid: (name, child) for name, child in watched.items()}
    while True:
        # Waits without reaping, so that Popen still sees the exit status.
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        if ended is not None and ended.si_pid in by_pid:
            name, child = by_pid[ended.si_pid]
            return f"{name} ended (exit status {child.wait()}), its last messages stand above"
        if ended is not None:
            os.waitpid(ended.si_pid, 0)


def _print_welcome(gateway: GatewaySettings, sync: CohortSyncSettings, export: HeapExportSettings) -> None:
    admin = _address(sync.cohort_sync_admin_host, sync.cohort_sync_admin_port)
    check = (
        f"curl '{_address(gateway.host, gateway.port)}/check-attribute?attribute=alice&listId=heap_premium_users"
        f"&accountId={sync.default_account}'"
    )
    print(
        f"""
Cohort Gateway is up.

  gateway (gatewayService of the VWO SDKs)   {_address(gateway.host, gateway.port)}
  cohort-sync (Heap's webhook)               {_address(sync.cohort_sync_host, sync.cohort_sync_port)}/webhooks/heap
  cohort-sync administration                 {admin}
  heap-export (what users saw, to Heap)      {_where_export_is(export)}
  store                                      {describe_store(gateway)}
  flag settings                              {gateway.settings_file or gateway.vwo_base_url}
  data and secrets                           {gateway.data_dir}

Next, in another terminal:

  scripts/send_sample_push --add alice bob   # sign and send a Heap push: "Premium Users" gains two members
  {check}
  scripts/list_segments.py                   # every synced segment

Ctrl-C stops everything.
""",
        flush=True,
    )


def _where_export_is(export: HeapExportSettings) -> str:
    if export.heap_app_id is None:
        return "set HEAP_APP_ID to start it"
    events = _address(export.heap_export_host, export.heap_export_port)
    administration = _address(export.heap_export_admin_host, export.heap_export_admin_port)
    return f"{events}, administration {administration}"
