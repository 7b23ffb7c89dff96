"""Random segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.decisions.values import (
    ADDRESSES,
    BROKEN_OPERANDS,
    COMPARED,
    DEVICES,
    INLISTS,
    ODD_OPERANDS,
    PATTERN_TOKENS,
    PATTERNS,
    PLACES,
    USER_AGENTS,
    VERSIONS,
    Chance,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_CHILDREN = 3


def segment(chance: Chance, depth: int = 3) -> Any:
    """Usually an `and` or `or` of conditions, as the dashboard makes them."""
    if chance.odd():
        return chance.choice(
            ({}, [], "", "x", None, 5, {"unknown": 1}, {"or": {}}, {"and": []}, {"or": []}, {"and": ""})
        )
    if depth <= 0 or chance.one_in(4):
        return condition(chance)
    kind = chance.choice(("and", "or", "or", "not"))
    if kind == "not":
        return {"not": segment(chance, depth - 1)}
    if chance.one_in(6):
        return {"and": places(chance)} if chance.one_in(2) else {"or": devices(chance)}
    return {kind: [segment(chance, depth - 1) for _ in range(chance.randint(1, _MOST_CHILDREN))]}


def condition(chance: Chance) -> Any:
    return _CONDITIONS[chance.choice(_KINDS)](chance)


def operand(chance: Chance) -> Any:
    if chance.odd():
        return chance.choice(ODD_OPERANDS)
    return _OPERANDS[chance.choice(_FORMS)](chance, chance.text())


def _custom_variable(chance: Chance) -> Any:
    return {"custom_variable": chance.choice((None, "x", {}, [])) if chance.odd() else {chance.name(): operand(chance)}}


def _user(chance: Chance) -> Any:
    if chance.odd():
        return {"user": chance.choice((5, None, ["u1"], ""))}
    return {"user": chance.choice((" , ", ",")).join(chance.user_id() for _ in range(chance.choice((1, 300))))}


def _feature(chance: Chance) -> Any:
    if chance.odd():
        return {"featureId": chance.choice((None, "on", 5, {}, ["on"], {"1": "maybe"}, {"x": "on"}))}
    return {"featureId": {str(chance.randint(1, 4)): chance.choice(("on", "off"))}}


def _version(chance: Chance) -> Any:
    name = chance.choice(("browser_version", "os_version"))
    return {name: chance.choice((operand(chance), *VERSIONS, "gte(10.15)", "lt(120)", "wildcard(10*)"))}


def _several(chance: Chance) -> Any:
    made = [one for one in (condition(chance), condition(chance)) if isinstance(one, dict)]
    return {name: value for one in made for name, value in one.items()}


def _pattern(chance: Chance) -> str:
    if not chance.odd():
        return chance.choice(PATTERNS)
    tokens = [chance.choice(PATTERN_TOKENS) for _ in range(chance.randint(1, 6))]
    # More than one of these could take both for ever.
    tokens.insert(chance.randint(0, len(tokens)), chance.choice(("*", "+", "*?", "{2,}", "")))
    return "".join(tokens)


_CONDITIONS: dict[str, Callable[[Chance], Any]] = {
    "custom_variable": _custom_variable,
    "user": _user,
    "ua": lambda chance: {
        "ua": chance.choice((operand(chance), *USER_AGENTS, "wildcard(*Chrome*)", "lower(CURL/8.1)")),
    },
    "ip_address": lambda chance: {
        "ip_address": chance.choice((operand(chance), *ADDRESSES, "wildcard(10.*)", 'wildcard("10.*)', '"10.0.0.1"')),
    },
    "version": _version,
    "featureId": _feature,
    "place": lambda chance: chance.choice(places(chance)),
    "device": lambda chance: chance.choice(devices(chance)),
    "several": _several,
}
_KINDS = (*_CONDITIONS, *("custom_variable",) * 6)

_OPERANDS: dict[str, Callable[[Chance, str], str]] = {
    "equal": lambda _, text: text,
    "lower": lambda _, text: f"lower({text})",
    "wildcard": lambda chance, text: "wildcard({})".format(
        chance.choice(("*{}*", "*{}", "{}*", "{}")).format(text[: chance.randint(1, 4)])
    ),
    "regex": lambda chance, _: f"regex({_pattern(chance)})",
    "compare": lambda chance, _: f"{chance.choice(('gt', 'gte', 'lt', 'lte'))}({chance.choice(COMPARED)})",
    "inlist": lambda chance, _: chance.choice(INLISTS),
    "broken": lambda chance, text: chance.choice((*BROKEN_OPERANDS, text)),
}
_FORMS = (*_OPERANDS, "equal", "wildcard", "compare")


def places(chance: Chance) -> list[Any]:
    names = chance.sample(list(PLACES), chance.randint(1, 3))
    quoted = chance.choice(("{}", '"{}"', " {} ", '"{} "'))
    result: list[Any] = [
        {name: chance.choice((5, None, [1])) if chance.odd() else quoted.format(chance.choice(PLACES[name]))}
        for name in names
    ]
    if chance.one_in(5):
        result.append(segment(chance, 0))
    return result


def devices(chance: Chance) -> list[Any]:
    names = chance.sample(list(DEVICES), chance.randint(1, 3))
    result: list[Any] = []
    for name in names:
        value: Any = chance.choice(DEVICES[name])
        value = chance.choice(
            (value, value.upper(), [value, "x"], f"wildcard({value[:3]}*)", f"wildcard(*{value[-3:]}*)")
        )
        result.append({name: chance.choice((5, None, [], "wildcard(()", "wildcard([)")) if chance.odd() else value})
    if chance.one_in(5):
        result.insert(chance.randint(0, len(result)), segment(chance, 0))
    return result
