"""Explanations of random decisions: what the rules are said to have done is what was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fme_client.evaluation import Answer, InList, Question, Settings, SettingsError, UserDetails, answer_with
from gateway.decisions_requests import is_text
from gateway.explain import Explanation, explain
from gateway.ofrep_answers import OFF, answer, catalogue
from tests.decisions.comparison import context_of
from tests.decisions.generator import job

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = 150
GIVEN = ("the user gets this variation", "the user is whitelisted")


def explanations() -> Iterator[tuple[Settings, Explanation]]:
    for number in range(JOBS):
        made = job(f"explain.{number}")
        try:
            settings = Settings.parse(made["settings"])
        except SettingsError:
            continue
        for case in made["cases"]:
            if case["flag"] in settings.features and case["context"]["id"] and is_text(case["context"]["id"]):

                def told(question: Question, case: dict[str, Any] = case, made: dict[str, Any] = made) -> Answer:
                    match question:
                        case InList(value, list_id):
                            return value in made["lists"].get(list_id, ())
                        case UserDetails():
                            return case["details"] if isinstance(case["details"], dict) else {}
                    return question.unanswered

                yield settings, answer_with(explain(settings, case["flag"], context_of(case)), told)


@pytest.fixture(scope="module")
def found() -> list[tuple[Settings, Explanation]]:
    return list(explanations())


def test_the_rules_tell_the_variation_that_was_decided(found: list[tuple[Settings, Explanation]]) -> None:
    on = 0
    for settings, explanation in found:
        decision = explanation.decision
        given = [rule["variation"] for rule in explanation.rules if rule["outcome"] in GIVEN]
        if decision.failure is not None:
            continue
        on += decision.is_enabled
        assert decision.is_enabled == bool(given), explanation
        if given:
            # An experiment's variation counts more than that of the rollout before it.
            assert str(given[-1]) == catalogue(settings).why(decision).variant, explanation
    assert on > len(found) / 5


def test_a_decision_that_fails_says_at_which_rule(found: list[tuple[Settings, Explanation]]) -> None:
    failed = [explanation for _, explanation in found if explanation.decision.failure is not None]
    assert failed
    for explanation in failed:
        assert any(str(explanation.decision.failure) in rule["outcome"] for rule in explanation.rules), explanation


def test_openfeature_has_words_for_every_decision(found: list[tuple[Settings, Explanation]]) -> None:
    for settings, explanation in found:
        decision, known = explanation.decision, catalogue(settings)
        for asked in known.all():
            if asked.flag == decision.feature_key:
                evaluated = answer(asked, decision, known.why(decision))
                assert (evaluated["variant"] != OFF) == decision.is_enabled
                assert evaluated["reason"] in {"STATIC", "TARGETING_MATCH", "SPLIT", "DEFAULT", "DISABLED"}
