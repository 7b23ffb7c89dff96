"""Our decisions next to the Node SDK's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fme_client.evaluation import (
    Answer,
    Context,
    InList,
    Matches,
    Question,
    Settings,
    SettingsError,
    Stored,
    UserDetails,
    answer_with,
    decide,
)


@dataclass(frozen=True)
class Mismatch:
    """One case that comes out differently. `job` has this case only."""

    job: dict[str, Any]
    what: str
    ours: Any
    theirs: Any


def evaluate(job: dict[str, Any]) -> dict[str, Any]:
    """What the Node driver would answer, from our evaluation."""
    try:
        settings = Settings.parse(job["settings"])
    except SettingsError:
        return {"usable": False, "results": []}
    return {"usable": True, "results": [_decide(settings, job["lists"], case) for case in job["cases"]]}


def compare(job: dict[str, Any], theirs: dict[str, Any]) -> list[Mismatch]:
    ours = evaluate(job)
    if ours["usable"] != theirs["usable"]:
        return [Mismatch({**job, "cases": []}, "usable", ours["usable"], theirs["usable"])]
    result: list[Mismatch] = []
    if not ours["usable"]:
        return result
    for case, mine, other in zip(job["cases"], ours["results"], theirs["results"], strict=True):
        what = next((name for name in mine if not _same(mine[name], other[name])), None)
        if what is not None:
            result.append(Mismatch({**job, "cases": [case]}, what, mine, other))
    return result


def context_of(case: dict[str, Any]) -> Context:
    given = case["context"]
    return Context(
        id=given["id"],
        custom_variables=given.get("customVariables", {}),
        variation_targeting_variables=given.get("variationTargetingVariables", {}),
        user_agent=given.get("userAgent"),
        ip_address=given.get("ipAddress"),
        user_details=given.get("_vwo"),
    )


def _decide(settings: Settings, lists: dict[str, list[str]], case: dict[str, Any]) -> dict[str, Any]:
    asked: list[list[Any]] = []

    def answer(question: Question) -> Answer:
        match question:
            case InList(value, list_id):
                asked.append(["list", value, list_id])
                return value in lists.get(list_id, ())
            case UserDetails(user_agent, ip_address):
                asked.append(["details", user_agent or None, ip_address or None])
                return case["details"] if isinstance(case["details"], dict) else question.unanswered
            case Stored(key):
                kept: dict[str, Any] = case["stored"].get(key, {})
                return kept
            case Matches(regex, text):  # the patterns and the texts are such that the Node SDK comes to an end, too
                return regex.matches(text)
        raise AssertionError(question)

    decision = answer_with(decide(settings, case["flag"], context_of(case), storage=bool(case["stored"])), answer)
    return {
        "enabled": decision.is_enabled,
        "variables": decision.variables,
        "exposures": [list(exposure) for exposure in decision.exposures],
        "stored": [{name: value for name, value in one.items() if value is not None} for one in decision.to_store],
        "integration": decision.integration,
        "questions": asked,
    }


def _same(ours: Any, theirs: Any) -> bool:
    """Equal as JSON values: numbers as the doubles that JavaScript has, null like a missing field."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return all(_same(ours.get(name), theirs.get(name)) for name in {*ours, *theirs})
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(_same(one, other) for one, other in zip(ours, theirs, strict=True))
    if isinstance(ours, bool) or isinstance(theirs, bool) or not isinstance(ours, (int, float)):
        return bool(ours == theirs) and isinstance(ours, bool) is isinstance(theirs, bool)
    return isinstance(theirs, (int, float)) and float(ours) == float(theirs)
