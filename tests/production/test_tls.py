"""TLS to the store: checked by default, everywhere, and never waited for in vain."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from foundation.errors import ConfigurationError
from foundation.settings import ServiceSettings
from foundation.store import connect
from tests.production.installation import ask, installed, tour
from tests.support.certificates import Certificates, make_certificates
from tests.support.cluster import running_cluster
from tests.support.ports import free_ports
from tests.support.processes import ROOT
from tests.support.sentinel import replicated_store
from tests.support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_WAIT = 15.0  # seconds for an answer to a push, two attempts of 5 s included


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@contextlib.contextmanager
def serving(directory: Path, certificates: Certificates) -> Iterator[Server]:
    found = Server(directory / "server", free_ports(1)[0], certificates)
    try:
        found.start("--appendonly", "yes")
        yield found
    finally:
        found.kill()


@pytest.fixture
def server(tmp_path: Path, certificates: Certificates) -> Iterator[Server]:
    with serving(tmp_path, certificates) as found:
        yield found


def test_everything_on_one_server(server: Server, certificates: Certificates, tmp_path: Path) -> None:
    url = f"rediss://127.0.0.1:{server.port}"
    with installed(tmp_path, {"REDIS_URL": url, "REDIS_TLS_CA_PATH": str(certificates.authority)}) as installation:
        tour(installation)


def test_everything_on_a_cluster(certificates: Certificates, tmp_path: Path) -> None:
    with (
        running_cluster(tmp_path / "nodes", tls=certificates) as cluster,
        installed(tmp_path, cluster.settings) as installation,
    ):
        tour(installation)


def test_sentinels_speak_tls_too(certificates: Certificates, tmp_path: Path) -> None:
    with (
        replicated_store(tmp_path / "servers", tls=certificates) as replicated,
        installed(tmp_path, replicated.settings) as installation,
    ):
        assert installation.service.heap.sync(add=["ann"]).status_code == 200
        assert installation.check("ann") == "in"


def said_of(directory: Path, **store: str) -> str:
    """What the readiness of cohort-sync says of a store that it can't use; a push is refused in time."""
    with installed(directory, store) as installation:
        begun = time.monotonic()
        assert installation.service.heap.sync(add=["ann"]).status_code == 503
        assert time.monotonic() - begun < LONGEST_WAIT
        assert installation.check("ann") == "store_down"
        gateway, cohort_sync = installation.readiness()
        assert gateway == {"status": "degraded", "reasons": ["store_down"]}
        assert isinstance(cohort_sync, dict)
        reason = str(cohort_sync["reasons"][0]).partition("(")[2].partition("): pushes wait")[0]
        assert reason in installation.service.program.log()
        return reason


class TestWhatIsSaid:
    def test_an_authority_that_nobody_named(self, server: Server, tmp_path: Path) -> None:
        reason = said_of(tmp_path, REDIS_URL=f"rediss://127.0.0.1:{server.port}")
        assert reason.startswith("its certificate is not accepted (self-signed certificate in certificate chain")
        assert "REDIS_TLS_CA_PATH" in reason

    def test_a_certificate_for_another_name(self, server: Server, certificates: Certificates, tmp_path: Path) -> None:
        url, authority = f"rediss://localhost:{server.port}", str(certificates.authority)
        reason = said_of(tmp_path, REDIS_URL=url, REDIS_TLS_CA_PATH=authority)
        assert reason.startswith("its certificate is not accepted (Hostname mismatch")

    def test_a_server_that_wants_tls_is_asked_without(self, server: Server, tmp_path: Path) -> None:
        assert "use rediss://" in said_of(tmp_path, REDIS_URL=f"redis://127.0.0.1:{server.port}")

    def test_a_server_without_tls_is_asked_with_it(self, tmp_path: Path) -> None:
        plain = Server(tmp_path / "server", free_ports(1)[0])
        plain.start()
        try:
            begun = time.monotonic()
            assert "(use redis://)" in ask(redis_url=f"rediss://127.0.0.1:{plain.port}")
            assert time.monotonic() - begun < LONGEST_WAIT
        finally:
            plain.kill()

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        settings = ServiceSettings(redis_url="rediss://127.0.0.1", redis_tls_ca_path=tmp_path / "none.pem")
        with pytest.raises(ConfigurationError, match="REDIS_TLS_CA_PATH: can't read"):
            connect(settings)


def test_a_trial_may_take_any_certificate(server: Server, tmp_path: Path) -> None:
    url = f"rediss://127.0.0.1:{server.port}"
    with installed(tmp_path, {"REDIS_URL": url, "REDIS_TLS_REJECT_UNAUTHORIZED": "false"}) as installation:
        assert installation.service.heap.sync(add=["ann"]).status_code == 200


def test_a_certificate_that_was_renewed_is_read_again(server: Server, certificates: Certificates) -> None:
    """All connections share what is read of the files, which takes long; but not for ever."""
    authority = certificates.authority
    url = f"rediss://127.0.0.1:{server.port}"
    right = authority.read_bytes()
    try:
        assert ask(redis_url=url, redis_tls_ca_path=authority) == "PONG"
        other = make_certificates(authority.parent / "other").authority
        authority.write_bytes(other.read_bytes())
        assert "certificate is not accepted" in ask(redis_url=url, redis_tls_ca_path=authority)
    finally:
        authority.write_bytes(right)
    assert ask(redis_url=url, redis_tls_ca_path=authority) == "PONG"


# Of the authority, by the version of OpenSSL.
_WITHOUT_KEY_USAGE = "CA cert does not include key usage extension|Path length given without key usage keyCertSign"


class TestStrictly:
    """Python checks by `VERIFY_X509_STRICT` from 3.13 on; any Python does when it is told to."""

    @pytest.fixture
    def documented(self, tmp_path: Path) -> Certificates:
        """Made by the commands of docs/redis.md."""
        if shutil.which("openssl") is None:
            pytest.skip("NOT TESTED: openssl is not installed, so the commands of docs/redis.md were not tried")
        document = (ROOT / "docs" / "redis.md").read_text()
        [commands] = [text for text in re.findall(r"```sh\n(.*?)```", document, re.DOTALL) if "openssl" in text]
        local = commands.replace("DNS:redis.example.com", "IP:127.0.0.1")
        subprocess.run(["sh", "-ec", local], cwd=tmp_path, check=True, capture_output=True)
        return Certificates(tmp_path / "authority.pem", tmp_path / "redis.pem", tmp_path / "redis.key")

    @pytest.mark.parametrize("made", ["certificates", "documented"])
    def test_what_the_tests_and_the_documents_make_is_accepted(
        self, made: str, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        found: Certificates = request.getfixturevalue(made)
        context = ssl.create_default_context(cafile=found.authority)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        with serving(tmp_path, found) as server:
            address = ("127.0.0.1", server.port)
            with socket.create_connection(address, timeout=10) as plain:
                context.wrap_socket(plain, server_hostname=address[0]).close()
            url = f"rediss://127.0.0.1:{server.port}"
            assert ask(redis_url=url, redis_tls_ca_path=found.authority) == "PONG"

    @pytest.mark.parametrize(
        ("missing", "named"),
        [
            (x509.AuthorityKeyIdentifier, "Missing Authority Key Identifier"),
            (x509.SubjectKeyIdentifier, "Missing Subject Key Identifier"),
            (x509.KeyUsage, _WITHOUT_KEY_USAGE),
        ],
    )
    def test_what_a_certificate_lacks_is_told(
        self, missing: type[x509.ExtensionType], named: str, tmp_path: Path
    ) -> None:
        found = make_certificates(tmp_path / "lacking", without=[missing])
        with serving(tmp_path, found) as server:
            said = ask(redis_url=f"rediss://127.0.0.1:{server.port}", redis_tls_ca_path=found.authority)
        if sys.version_info >= (3, 13):
            told = rf"its certificate is not accepted \((?:{named})\): docs/redis.md says what it must hold"
            assert re.fullmatch(told, said)
        else:
            assert said == "PONG"
