"""Random jobs like those of `generator`, about regular expressions alone: nested, repeated, ambiguous."""

from __future__ import annotations

from typing import Any

from tests.decisions.builders import ROLLOUT, campaign, document, feature
from tests.decisions.values import Chance

FLAGS, CASES = 10, 40
_DEPTH = 3
_SHORT, _LONG = 9, 60  # characters: what is repeated within a repetition may double the work with each of them

_ATOMS = (
    *("a", "a", "a", "b", "b", "c", ".", "ab", "1", " ", "é", "😀"),
    *("\\w", "\\W", "\\d", "\\s", "\\b", "\\B", "^", "$", "\\1", "\\2", "\\u0061"),
    *("[ab]", "[^a]", "[a-c1]", "[\\w-]", "[^\\s]"),
    # Others than these have no fixed width, which we do not support.
    *("(?<=a)", "(?<!b)", "(?<=a|bc)", "(?<!\\w)", "(?<=[ab]c)"),
)
_GROUPS = ("(", "(", "(?:", "(?:", "(?=", "(?!")
_QUANTIFIERS = ("*", "+", "?", "{2}", "{1,3}", "{2,}", "{0,2}")
_CHARACTERS = "aaaabbbc1 é😀-"
_NEVER_REPEATED = ("^", "$", "\\b", "\\B", "(?<")


def regex_job(seed: int | str) -> dict[str, Any]:
    """A flag for each pattern, and users with texts that may match it."""
    chance = Chance(seed)
    patterns = [_pattern(chance, chance.choice((1, _DEPTH))) for _ in range(FLAGS)]
    campaigns = [
        campaign(ROLLOUT, number, {"or": [{"custom_variable": {"x": f"regex({pattern})"}}]})
        for number, pattern in enumerate(patterns, 1)
    ]
    features = [feature(number, f"flag{number}", [one]) for number, one in enumerate(campaigns, 1)]
    cases = [_case(chance, chance.randint(1, FLAGS), patterns) for _ in range(CASES)]
    return {"settings": document(features, campaigns), "lists": {}, "cases": cases}


def _case(chance: Chance, flag: int, patterns: list[str]) -> dict[str, Any]:
    quantifiers = sum(patterns[flag - 1].count(sign) for sign in "*+?{")
    length = chance.randint(0, _LONG if quantifiers <= 1 else _SHORT)
    text = "".join(chance.choice(_CHARACTERS) for _ in range(length))
    context = {"id": "alice", "customVariables": {"x": text}}
    return {"flag": f"flag{flag}", "context": context, "stored": {}, "details": {}}


def _pattern(chance: Chance, depth: int) -> str:
    terms = []
    for _ in range(chance.randint(1, 4)):
        term = chance.choice(_ATOMS)
        if depth and chance.one_in(3):
            term = f"{chance.choice(_GROUPS)}{_pattern(chance, depth - 1)})"
        if chance.one_in(2) and not term.startswith(_NEVER_REPEATED):
            term += chance.choice(_QUANTIFIERS) + chance.choice(("", "", "?"))
        terms.append(term)
        if chance.one_in(8):
            terms.append("|")
    return "".join(terms)
