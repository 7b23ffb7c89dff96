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
from foundation.logs import say
from foundation.serving import reachable_host
from foundation.settings import load_settings
from foundation.store import describe_store
from gateway.settings import GatewaySettings
from heap_export.settings import HeapExportSettings
from local_stack import children
from local_stack.store import STORE, embedded_store
from local_stack.supervisor import Child, supervise

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

SAMPLE_SETTINGS = Path(__file__).resolve().parent.parent / "examples" / "settings.json"
START_SECONDS = 30.0
SERVICE_STOP_SECONDS = 1.5  # with the store's stop this stays below the 2 s that are promised


_WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class _Service:
    name: str
    command: list[str]
    health: str


def serve() -> None:
    """Run everything until SIGINT or SIGTERM. What ends by itself, once all was up, is started again.

    Raises `ConfigurationError` for what the operator must mend.
    """
    os.environ.update(_sample_settings())  # the services inherit it
    gateway, sync = load_settings(GatewaySettings), load_settings(CohortSyncSettings)
    export = load_settings(HeapExportSettings)
    watched: list[Child] = []
    with _stop_signals(), contextlib.ExitStack() as stack:
        try:
            if gateway.uses_embedded_store:
                watched.append(stack.enter_context(embedded_store(gateway.data_dir)))
            services = [(service, _start(service)) for service in _services(gateway, sync, export)]
            for _, child in services:
                watched.append(child)
                stack.callback(_stop, child)
            for service, child in services:
                _wait_until_healthy(service, child.process)
            _print_welcome(gateway, sync, export)
            supervise(watched)
        except _StopRequestedError:
            # The services get the word at once; leaving the stack waits for them, and stops the store after them.
            for child in watched:
                if child.name != STORE:
                    child.process.terminate()


def _start(service: _Service) -> Child:
    return Child(
        service.name,
        children.start(service.command),
        lambda: children.start(service.command),
        lambda: "Its last messages stand above.",
    )


def _stop(child: Child) -> None:
    children.stop(child.process, seconds=SERVICE_STOP_SECONDS)


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
            with _WITHOUT_PROXY.open(f"{service.health}/healthz", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise ConfigurationError(f"{service.name} did not answer within {START_SECONDS:.0f} s at {service.health}")


def _print_welcome(gateway: GatewaySettings, sync: CohortSyncSettings, export: HeapExportSettings) -> None:
    admin = _address(sync.cohort_sync_admin_host, sync.cohort_sync_admin_port)
    check = (
        f"curl '{_address(gateway.host, gateway.port)}/check-attribute?attribute=alice&listId=heap_premium_users"
        f"&accountId={sync.default_account}'"
    )
    say(
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
"""
    )


def _where_export_is(export: HeapExportSettings) -> str:
    if export.heap_app_id is None:
        return "set HEAP_APP_ID to start it"
    events = _address(export.heap_export_host, export.heap_export_port)
    administration = _address(export.heap_export_admin_host, export.heap_export_admin_port)
    return f"{events}, administration {administration}"
