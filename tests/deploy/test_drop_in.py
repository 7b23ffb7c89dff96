"""The image takes the place of VWO's own gateway: the same variables, with their meaning."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from gateway.settings import GatewaySettings
from local_stack.settings_table import EXAMPLE, env_example
from tests.deploy.dockerfile import read_dockerfile
from tests.gateway.conftest import Lists, Wire
from tests.support import http, processes
from tests.support.certificates import make_certificates
from tests.support.fake_vwo import fake_vwo
from tests.support.ports import free_ports
from tests.support.processes import ROOT
from tests.support.servers import Server
from tests.support.vwo_settings import ACCOUNT, KEY, POLLED, VwoSettings, document
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.certificates import Certificates

MIGRATING = (ROOT / "docs" / "migrating.md").read_text()

# As VWO's documentation sets it up, with an account and a Redis filled in.
AS_DOCUMENTED = {
    "ACCOUNT_ID": ACCOUNT,
    "SDK_KEY": KEY,
    "POLLING_TIME": "60000",
    "MAXMIND_USER_ID": "",
    "MAXMIND_LICENSE_KEY": "",
    "CORS_CONFIG_REQUIRED": "false",
    "DECISION_REQUIRED": "false",
    "LOG_LEVEL": "ERROR",
    "REDIS_ENABLE_TLS": "false",
    "REDIS_PASSWORD": "",
    "REDIS_TLS_CA_PATH": "",
    "REDIS_TLS_KEY_PATH": "",
    "REDIS_TLS_CERT_PATH": "",
    "REDIS_TLS_REJECT_UNAUTHORIZED": "false",
    "MAX_EVENTS_PER_REQUEST": "5000",
    "FLUSH_EVENTS_INTERVAL": "600",
    "EVENTS_PER_REQUEST": "100",
    "SOCKET_TIMEOUT": "5",
}
OFFICIAL = {*AS_DOCUMENTED, "REDIS_HOST", "REDIS_PORT", "PORT"}


@pytest.fixture
def upstream() -> Iterator[VwoSettings]:
    with fake_vwo() as vwo:
        found = VwoSettings(vwo)
        found.put()
        yield found


def test_every_variable_of_vwos_gateway_is_a_setting_and_explained() -> None:
    assert {name.lower() for name in OFFICIAL} <= set(GatewaySettings.model_fields)
    for name in OFFICIAL:
        assert f"`{name}`" in MIGRATING, name


@pytest.mark.parametrize("password", [None, "a pass:word@/%"])
def test_it_runs_as_vwo_documents_it(upstream: VwoSettings, tmp_path: Path, password: str | None) -> None:
    server = Server(tmp_path / "redis", free_ports(1)[0])
    given = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port), "VWO_BASE_URL": upstream.vwo.address}
    try:
        server.start()
        with server.client() as client:
            Lists(client).put("a_list", "alice")
            if password is not None:
                client.config_set("requirepass", password)
                given["REDIS_PASSWORD"] = password
        settings = AS_DOCUMENTED | {"SETTINGS_FILE": ""} | given
        with processes.gateway(tmp_path, settings) as program:
            answer = http.get(program.address + POLLED, params={"a": ACCOUNT, "i": KEY})
            assert answer.json() == document()
            assert Wire(program.address).check("attribute=alice&listId=a_list").state == "in"
            assert http.get(f"{program.address}/readyz").json() == {"status": "ok"}
            assert http.post(f"{program.address}/server-side/getFlag", json={}).status_code == 404  # DECISION_REQUIRED
    finally:
        server.kill()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "certificates")


@pytest.mark.parametrize("checked", [True, False])
def test_redis_is_reached_over_tls(
    upstream: VwoSettings, certificates: Certificates, tmp_path: Path, checked: bool
) -> None:
    server = Server(tmp_path / "redis", free_ports(1)[0], certificates)
    ours = (
        {"REDIS_TLS_REJECT_UNAUTHORIZED": "true", "REDIS_TLS_CA_PATH": str(certificates.authority)}
        | {"REDIS_TLS_CERT_PATH": str(certificates.certificate), "REDIS_TLS_KEY_PATH": str(certificates.key)}
        if checked
        else {}
    )
    try:
        server.start()
        with server.client() as client:
            Lists(client).put("a_list", "alice")
        place = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port), "VWO_BASE_URL": upstream.vwo.address}
        settings = AS_DOCUMENTED | {"SETTINGS_FILE": "", "REDIS_ENABLE_TLS": "true"} | place | ours
        with processes.gateway(tmp_path, settings) as program:
            wire = Wire(program.address)
            until(lambda: wire.check("attribute=alice&listId=a_list").state == "in", what="the store over TLS")
    finally:
        server.kill()


def test_the_image_runs_the_gateway_on_vwos_port() -> None:
    final = read_dockerfile()[-1]
    assert final.command == ["cohort-gateway", "serve"]
    assert GatewaySettings.model_fields["port"].default == 8000
    assert "8000" in final.values("EXPOSE")[0].split()
    assert final.environment["HOST"] == "0.0.0.0"  # noqa: S104 - inside a container


def test_the_example_of_an_environment_file_is_that_of_the_settings_classes() -> None:
    assert EXAMPLE.read_text() == env_example(), "run: python -m local_stack.settings_table"


def test_every_line_of_the_example_is_a_comment_or_a_setting_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = re.findall(r"^#([A-Z_]+=.*)$", EXAMPLE.read_text(), re.MULTILINE)
    for line in lines:
        monkeypatch.delenv(line.partition("=")[0], raising=False)
    path = tmp_path / "all.env"
    path.write_text("\n".join(lines))
    assert GatewaySettings(_env_file=path) == GatewaySettings(_env_file=None)


def test_links_of_the_document_lead_to_files() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", MIGRATING)
    assert links
    for link in links:
        assert (ROOT / "docs" / link).exists(), link
