"""Pages of docs: what they name exists, and what operators meet is in them."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest
import typer

from attribute_lists.states import State
from cohort_sync import signature
from fme_client import _version
from gateway import check, decisions_events
from heap_export import cli
from heap_export.integrations import Integration
from tests.support.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

HEAP = ROOT / "docs" / "heap.md"
VWO = ROOT / "docs" / "vwo.md"
EXPORT = ROOT / "docs" / "heap-export.md"
SOURCES = [ROOT / "docs" / f"heap-{source}.md" for source in ("vwo", "optimizely", "statsig", "events")]


@pytest.mark.parametrize("document", [HEAP, VWO, EXPORT, *SOURCES], ids=lambda document: document.name)
def test_links_lead_to_files(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert links
    for link in links:
        assert (document.parent / link).exists(), link


@pytest.mark.parametrize("document", [HEAP, VWO, *SOURCES], ids=lambda document: document.name)
def test_topics_have_a_picture_and_a_way_out_of_trouble(document: Path) -> None:
    text = document.read_text()
    assert "```mermaid" in text
    assert "## Troubleshooting" in text


def test_every_state_of_membership_is_explained() -> None:
    for state in (*State, check.INCOMPLETE):
        assert f"`{state}`" in VWO.read_text(), state


def test_every_refusal_of_a_signature_is_explained() -> None:
    reasons = re.findall(r'reason="(\w+)"', (ROOT / "cohort_sync" / "signature.py").read_text())
    assert {"missing_signature", "bad_signature"} <= set(reasons)
    for reason in reasons:
        assert f"`{reason}`" in HEAP.read_text(), reason
    assert signature.HEADER in HEAP.read_text()


def test_events_name_the_version_that_sent_them() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (version, version) == (_version.VERSION, decisions_events.VERSION)


def test_every_option_of_a_heap_environment_is_explained() -> None:
    for field in Integration.model_fields:
        assert f"`{field}`" in EXPORT.read_text(), field


def test_every_command_of_heap_export_is_explained() -> None:
    text = EXPORT.read_text()
    commands = typer.main.get_group(cli.app).commands
    for name in commands.keys() - {"serve"}:
        assert f"heap-export {name}" in text, name
