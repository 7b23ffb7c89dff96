"""`scripts/fuzz_descriptions`: schemathesis on the OpenAPI descriptions of the gateway and of cohort-sync's two."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from cohort_sync.public import create_public_app
from cohort_sync.receiver import open_receiver
from cohort_sync.settings import CohortSyncSettings
from tests.fuzz.check_requests import LIST
from tests.fuzz.gateway_requests import ADDRESSES, AGENTS, FLAGS, SDK_KEY
from tests.fuzz.gateway_settings import fuzzed_gateway
from tests.fuzz.run import settings
from tests.gateway.conftest import ACCOUNT
from tests.gateway.deciding import TOKEN
from tests.support import http
from tests.support.processes import ROOT, cohort_sync, running_store, wait_until_recovered

if TYPE_CHECKING:
    from tests.support.processes import Program

_CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance"

_EVENT = {"d": {"event": {"name": "vwo_variationShown", "props": {"id": 2, "vwo_envKey": SDK_KEY}}}}
_EXISTING: dict[str, tuple[Any, ...]] = {  # by the names of parameters and fields, and bodies by their path
    **dict.fromkeys(("account", "accountId", "a"), (ACCOUNT,)),
    **dict.fromkeys(("sdkKey", "i", "env"), (SDK_KEY,)),
    "name": ("heap_aimed", "1"),
    "userId": ("alice", "bob"),
    "aliasId": ("tmp1",),
    "featureKey": FLAGS,
    "key": (*FLAGS, f"{FLAGS[0]}:size"),
    "listId": (LIST,),
    "attribute": ("alice",),
    "customVariables": ({"plan": "alice", "age": 31},),
    "context": ({"targetingKey": "alice", "plan": "alice"},),
    "/events/t": (_EVENT,),
    "/server-side/batch-events-v2": ({"ev": [_EVENT, _EVENT]},),
    "userAgent": AGENTS[:2],
    "ipAddress": ADDRESSES[:2],
}

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


class Subject(NamedTuple):
    """An application to be asked. `token` is its administrator's; files may be put into `directory`.

    `names_statuses`: its description names every status that it answers with.
    """

    description: dict[str, Any]
    program: Program
    address: str
    token: str
    directory: Path
    names_statuses: bool = False


@app.command()
def main(
    examples: Annotated[int, typer.Option(min=1, help="requests for each operation and phase, at the most")] = 200,
    seed: Annotated[int, typer.Option(help="another seed, other requests")] = 1,
) -> None:
    """Send what the descriptions allow, and what they don't, to services of its own; no answer may be 5xx."""
    statuses = [*_of_cohort_sync(examples, seed), _of_gateway(examples, seed)]
    sys.exit(max(statuses))


def _of_cohort_sync(examples: int, seed: int) -> list[int]:
    """The statuses of schemathesis for the webhook's application and for the administration's."""
    with running_store() as store:
        directory, chosen = store.directory, settings(store.url)
        with cohort_sync(directory, chosen) as program:
            wait_until_recovered(program)
            token = chosen["ADMIN_TOKEN"]
            headers = {"Authorization": f"Bearer {token}"}
            public = asyncio.run(_public_description(directory, chosen))
            private = http.get(f"{program.addresses[1]}/openapi.json", headers=headers).raise_for_status().json()
            return [
                _run(Subject(description, program, address, token, directory), examples=examples, seed=seed)
                for description, address in zip((public, private), program.addresses, strict=True)
            ]


def _of_gateway(examples: int, seed: int) -> int:
    with fuzzed_gateway() as gateway:
        description = gateway.client.get("/openapi.json").raise_for_status().json()
        program, directory = gateway.program, gateway.settings_file.parent
        subject = Subject(description, program, program.address, TOKEN, directory, names_statuses=True)
        return _run(subject, examples=examples, seed=seed)


async def _public_description(directory: Path, chosen: dict[str, str]) -> dict[str, Any]:
    """The public port shows no description, so it is asked of the application."""
    options: dict[str, Any] = {name.lower(): value for name, value in chosen.items()}
    options |= {"data_dir": directory / "data", "account_id": "123456"}
    async with open_receiver(CohortSyncSettings(**options), taking=False) as receiver:
        return create_public_app(receiver).openapi()


def _aimed(description: dict[str, Any]) -> dict[str, Any]:
    """The description with names that exist beside those it allows: else most requests would find nothing."""
    for path, operations in description["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                _aim(parameter, "schema", parameter["name"])
            for content in operation.get("requestBody", {}).get("content", {}).values():
                fields = content["schema"].get("properties", {})
                for name in fields:
                    _aim(fields, name, name)
                for push in content["schema"].get("oneOf", []):
                    del push["properties"]["id_token"]  # none is known
                    segment = {"type": "object", "properties": {"id": {"const": 1}, "name": {"const": "Aimed"}}}
                    push["properties"]["data"]["properties"]["segment"] = segment | {"required": ["id", "name"]}
                _aim(content, "schema", path)
    return description


def _aim(holder: dict[str, Any], place: str, name: str) -> None:
    """Let the schema at `place` allow what exists by that name."""
    if name in _EXISTING:
        holder[place] = {"anyOf": [{"enum": list(_EXISTING[name])}, holder[place]]}


def _run(subject: Subject, *, examples: int, seed: int) -> int:
    """The status of schemathesis. Ends the program where the service's log holds an error."""
    path = subject.directory / "description.json"
    path.write_text(json.dumps(_aimed(subject.description)))
    checks = f"{_CHECKS},status_code_conformance" if subject.names_statuses else _CHECKS
    arguments = ["run", str(path), "--url", subject.address, "--checks", checks, "--seed", str(seed), "--no-color"]
    arguments += ["--max-examples", str(examples), "--continue-on-failure", "--request-timeout", "15"]
    arguments += ["-H", f"Authorization: Bearer {subject.token}"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.fuzz.schema_hooks", "PYTHONPATH": str(ROOT)}
    program = Path(sys.prefix) / "bin" / "schemathesis"
    status = subprocess.run([str(program), *arguments], env=environment, cwd=path.parent, check=False).returncode
    if "Traceback" in subject.program.log():
        sys.exit("FAILED: the log holds an error:\n" + subject.program.log()[-5000:])
    return status


if __name__ == "__main__":
    app()
