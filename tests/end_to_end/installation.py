"""A whole installation of real processes: the store, the gateway, cohort-sync. And Heap, written from its contract."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.support.http import post
from tests.support.processes import ROOT, StoreServer, environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import httpx

SECRET = "whsec_end_to_end"
ACCOUNT = "123456"
LIST = "heap_premium_users"
SETTINGS_FILE = ROOT / "examples" / "settings.json"

_ADDRESS = re.compile(r"http://[\w.\[\]:]+:\d+")


class Installation:
    """All state lies in `directory`, so what is killed can be started again and knows what it knew.

    The programs are started as an operator starts them, `python -m <package> serve`, each in a process of its own.
    `of_gateways`: further settings of them.
    """

    def __init__(
        self,
        directory: Path,
        store_directory: Path,
        *,
        gateways: int = 1,
        of_gateways: Mapping[str, str] | None = None,
        settings_file: Path = SETTINGS_FILE,
    ) -> None:
        self.gateways = [""] * gateways
        self.gateway_pids: list[int] = []
        self._of_gateways = dict(of_gateways or {})
        self.webhook = ""
        self._administration = ""
        self._directory = directory
        self._settings_file = settings_file
        self.store = StoreServer(store_directory)
        self._programs: list[subprocess.Popen[str]] = []
        self._tasks = itertools.count(1)

    @property
    def gateway(self) -> str:
        return self.gateways[0]

    def start(self) -> None:
        self.store.start()
        # All at once, since each takes a while to import its libraries.
        ports = {"COHORT_SYNC_PORT": "0", "COHORT_SYNC_ADMIN_PORT": "0"}
        cohort_sync = self._start("cohort_sync", ports | {"HEAP_WEBHOOK_SECRET": SECRET})
        gateways = [self._start("gateway", {"PORT": "0"} | self._of_gateways) for _ in self.gateways]
        self.gateway_pids = [gateway.pid for gateway in gateways]
        public, self._administration = self._addresses("cohort_sync", cohort_sync)
        self.webhook = f"{public}/webhooks/heap"
        self.gateways = [self._addresses("gateway", gateway)[0] for gateway in gateways]

    def kill(self) -> None:
        """SIGKILL to everything, the store too. Nobody gets to say goodbye."""
        for program in self._programs:
            program.kill()
        self.store.kill()
        for program in self._programs:
            program.wait()
            if program.stdout is not None:
                program.stdout.close()
        self._programs.clear()

    def push(
        self,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        *,
        segment: str = "Premium Users",
        task: str | None = None,
        page: int = 1,
        pages: int = 1,
    ) -> None:
        """Send one signed page as Heap does, and see it acknowledged."""
        body = json.dumps(
            {
                "action_type": "segment.users.sync",
                "customer_config": {"fields": []},
                "data": {
                    "segment": {"id": 1338065, "name": segment},
                    "sync_info": {
                        "page_number": page,
                        "total_pages": pages,
                        "sync_task_id": task or f"end-to-end-{next(self._tasks)}",
                    },
                    "remove": [{"id": member} for member in remove],
                    "add": [{"id": member} for member in add],
                },
            },
            separators=(",", ":"),
        ).encode()
        answer = self.send(body)
        assert answer.status_code == 200, answer.text

    def send(self, body: bytes) -> httpx.Response:
        """Send that body, signed."""
        # Signed here from the contract and not by our own code, which might be wrong on both sides.
        timestamp = str(int(time.time() * 1000))
        digest = hmac.new(SECRET.encode(), timestamp.encode() + body, hashlib.sha256).digest()
        signature = f"ts:{timestamp},hmac:{base64.b64encode(digest).decode()}"
        return post(self.webhook, content=body, headers={"Content-Type": "application/json", "Heap-Hash": signature})

    def operate(self, *words: str) -> str:
        """What the command `cohort-sync WORDS` prints, run as an operator runs it beside the services."""
        port = self._administration.rpartition(":")[2]
        done = subprocess.run(
            [sys.executable, "-m", "cohort_sync", *words],
            cwd=self._directory,
            env=self._environment({"COHORT_SYNC_ADMIN_PORT": port}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def log(self, package: str) -> str:
        return (self._directory / f"{package}.log").read_text()

    def _start(self, package: str, settings: dict[str, str]) -> subprocess.Popen[str]:
        with (self._directory / f"{package}.log").open("a") as log:
            program = subprocess.Popen(
                [sys.executable, "-m", package, "serve"],
                cwd=self._directory,
                env=self._environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._programs.append(program)
        return program

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        shared = {
            "REDIS_URL": self.store.url,
            "DATA_DIR": str(self._directory / "data"),
            "SETTINGS_FILE": str(self._settings_file),
        }
        return environment(shared | settings)

    def _addresses(self, package: str, program: subprocess.Popen[str]) -> list[str]:
        """What the program prints first once it listens. Its end of the pipe closes when it dies before that."""
        assert program.stdout is not None
        line = program.stdout.readline()
        addresses: list[str] = _ADDRESS.findall(line)
        assert addresses, f"{package} said {line!r}; its log: {self.log(package)}"
        return addresses
