"""Imports point one way, as docs/design.md draws them."""

from __future__ import annotations

import ast

import pytest

from tests.support.processes import ROOT

ALLOWED = {
    "foundation": set(),
    "attribute_lists": {"foundation"},
    "cohort_sync": {"attribute_lists", "foundation", "published"},
    "event_stream": {"foundation"},
    "published": {"event_stream", "foundation"},
    "gateway": {"attribute_lists", "event_stream", "foundation", "fme_client", "published"},
    "heap_export": {"event_stream", "fme_client", "foundation", "published"},
    "fme_client": set(),
}
OURS = {*ALLOWED, "local_stack", "tests"}


@pytest.mark.parametrize(("package", "allowed"), ALLOWED.items())
def test_a_package_imports_only_what_it_may(package: str, allowed: set[str]) -> None:
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            used = {name.partition(".")[0] for name in names} & OURS
            assert used <= allowed | {package}, path
