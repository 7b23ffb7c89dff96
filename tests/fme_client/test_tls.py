"""A gateway behind TLS: its certificate counts, and deadlines hold there too."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from fme_client import OptionError
from tests.fme_client.sample import LIST, member, sample_settings
from tests.fme_client.test_faults import CALLS, assert_off_in_time, lonely
from tests.support import bad_servers
from tests.support.bad_servers import HEAD, bad_server
from tests.support.certificates import make_certificates
from tests.support.recording_server import recording_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fme_client.conftest import Connect
    from tests.support.certificates import Certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def tls(certificates: Certificates) -> ssl.SSLContext:
    """Of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    return context


@pytest.fixture
def trusted(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))


@pytest.mark.usefixtures("trusted")
def test_a_known_certificate_is_accepted(connect: Connect, tls: ssl.SSLContext) -> None:
    with recording_server(sample_settings(), tls=tls) as server:
        server.members = {LIST: {"alice"}}
        client = connect(server.address, deadline=5000)
        assert client.get_flag("premium", member("alice"))
        assert not client.get_flag("premium", member("bob"))
        assert client.flush()


def test_an_unknown_certificate_is_refused(connect: Connect, tls: ssl.SSLContext, said: list[str]) -> None:
    with recording_server(sample_settings(), tls=tls) as server:
        server.members = {LIST: {"alice"}}
        client = connect(server.address, settings=sample_settings())
        assert not client.get_flag("premium", member("alice"))
        assert server.requests == []
        assert any("certificate or TLS is not accepted" in line for line in said)


def test_a_bundle_that_is_none_is_told_at_once(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("missing.pem", "empty.pem"):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / name))
        with pytest.raises(OptionError, match="REQUESTS_CA_BUNDLE must name a PEM file"):
            connect("https://127.0.0.1:8000")


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    "behave", [bad_servers.silent, bad_servers.dripping(HEAD % 1000, 0.002), bad_servers.endless, bad_servers.closes]
)
def test_a_flag_comes_in_time_from_a_bad_server(
    connect: Connect, tls: ssl.SSLContext, behave: bad_servers.Behaviour
) -> None:
    with bad_server(behave, tls=tls) as address:
        assert_off_in_time(lonely(connect, address), CALLS)


@pytest.mark.parametrize("behave", [bad_servers.silent, bad_servers.dripping(b"\x16\x03\x03\x40\x00", 0.02)])
def test_a_flag_comes_in_time_where_the_handshake_does_not_end(connect: Connect, behave: bad_servers.Behaviour) -> None:
    with bad_server(behave, reads=False) as address:
        assert_off_in_time(lonely(connect, address.replace("http", "https")), CALLS)
