"""The gateway's application on plain uvicorn: what its own HTTP protocol is compared with.

Run as a program (`processes.running`) with the settings of the gateway.
"""

from __future__ import annotations

import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from foundation import serving
from foundation.logs import configure_logging
from foundation.settings import load_settings
from gateway.app import create_app
from gateway.settings import GatewaySettings


async def _serve(settings: GatewaySettings) -> None:
    options = {
        "http": HttpToolsProtocol,
        "timeout_keep_alive": 75,
        "headers": [("Keep-Alive", "timeout=70")],
    }
    listener = serving.Listener(create_app(settings), settings.host, settings.port, options)
    bound = serving.bind(settings.host, settings.port, setting="PORT")
    print(f"plain gateway listening on {serving.address(bound)}", flush=True)  # noqa: T201 - tells the tests
    await serving.serve([(listener, bound)])


if __name__ == "__main__":
    configure_logging("INFO", service="plain")
    uvloop.run(_serve(load_settings(GatewaySettings)))
