"""`scripts/fuzz_descriptions`: schemathesis on the OpenAPI descriptions of both applications of cohort-sync."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cohort_sync.public import create_public_app
from cohort_sync.receiver import open_receiver
from cohort_sync.settings import CohortSyncSettings
from tests.fuzz.run import settings
from tests.support import http
from tests.support.processes import ROOT, cohort_sync, running_store, wait_until_recovered

_CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance"

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    examples: Annotated[int, typer.Option(min=1, help="requests for each operation and phase, at the most")] = 200,
    seed: Annotated[int, typer.Option(help="another seed, other requests")] = 1,
) -> None:
    """Send what the descriptions allow, and what they don't, to a cohort-sync of its own; no answer may be 5xx."""
    with running_store() as store:
        directory, chosen = store.directory, settings(store.url)
        with cohort_sync(directory, chosen) as program:
            wait_until_recovered(program)
            token = {"Authorization": f"Bearer {chosen['ADMIN_TOKEN']}"}
            public = asyncio.run(_public_description(directory, chosen))
            private = http.get(f"{program.addresses[1]}/openapi.json", headers=token).raise_for_status().json()
            statuses = []
            for title, description in (("public", public), ("administration", private)):
                path = directory / f"{title}.json"
                path.write_text(json.dumps(_aimed(description)))
                address = program.addresses[title == "administration"]
                statuses.append(_run(path, address, token, examples=examples, seed=seed))
                if "Traceback" in program.log():
                    sys.exit("FAILED: the log holds an error:\n" + program.log()[-5000:])
    sys.exit(max(statuses))


async def _public_description(directory: Path, chosen: dict[str, str]) -> dict[str, Any]:
    """The public port shows no description, so it is asked of the application."""
    options: dict[str, Any] = {name.lower(): value for name, value in chosen.items()}
    options |= {"data_dir": directory / "data", "account_id": "123456"}
    async with open_receiver(CohortSyncSettings(**options), taking=False) as receiver:
        return create_public_app(receiver).openapi()


def _aimed(description: dict[str, Any]) -> dict[str, Any]:
    """The description with names that exist beside those it allows: else most requests would find nothing."""
    existing = {"account": ["123456"], "name": ["heap_aimed", "1"]}
    for path in description["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] in existing:
                    parameter["schema"] = {"anyOf": [{"enum": existing[parameter["name"]]}, parameter["schema"]]}
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for push in content["schema"].get("oneOf", []):
                    del push["properties"]["id_token"]  # none is known
                    segment = {"type": "object", "properties": {"id": {"const": 1}, "name": {"const": "Aimed"}}}
                    push["properties"]["data"]["properties"]["segment"] = segment | {"required": ["id", "name"]}
    return description


def _run(path: Path, address: str, headers: dict[str, str], *, examples: int, seed: int) -> int:
    arguments = ["run", str(path), "--url", address, "--checks", _CHECKS, "--seed", str(seed), "--no-color"]
    arguments += ["--max-examples", str(examples), "--continue-on-failure", "--request-timeout", "15"]
    for name, value in headers.items():
        arguments += ["-H", f"{name}: {value}"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.fuzz.schema_hooks", "PYTHONPATH": str(ROOT)}
    program = Path(sys.prefix) / "bin" / "schemathesis"
    return subprocess.run([str(program), *arguments], env=environment, cwd=path.parent, check=False).returncode


if __name__ == "__main__":
    app()
