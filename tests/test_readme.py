"""The README tells the truth about settings and commands."""

from __future__ import annotations

import re

from local_stack.settings_table import SETTINGS, settings_table
from tests.support.processes import ROOT

README = (ROOT / "README.md").read_text()


def test_the_table_of_settings_is_that_of_the_settings_classes() -> None:
    assert settings_table() in README, "run: python -m local_stack.settings_table"


def test_every_setting_says_what_it_is_for() -> None:
    for cls in SETTINGS.values():
        for name, field in cls.model_fields.items():
            assert field.description, name


def test_every_script_and_document_that_it_names_exists() -> None:
    for path in re.findall(r"\b(?:scripts|docs|examples)/[\w./-]*\w", README):
        assert (ROOT / path).exists(), path
