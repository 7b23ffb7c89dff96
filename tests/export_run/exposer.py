"""An application that tells of exposures, most of them again and again: `python -m tests.export_run.exposer PLAN`.

Many run at a time and tell of the same people. Of a person each one tells flag after flag, the next one once the one
before was taken; so of all of them together the first to tell of a flag comes behind the first of the flag before it.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from typing import Any, NamedTuple

import httpx

BATCH = 100
FLAGS = 8
SOURCE, LABEL = "optimizely", "Optimizely"


class Plan(NamedTuple):
    """`addresses` are asked in turn; `exposures` are told in all, of `people`."""

    addresses: list[str]
    key: str
    seed: int
    exposures: int
    people: int


def person(number: int) -> str:
    return f"person-{number}"


def variation(number: int, flag: int) -> str:
    return ("control", "blue", "red")[(number + flag) % 3]


def tell(plan: Plan) -> list[int]:
    """How many flags of each person were told, when all is taken."""
    chance = random.Random(plan.seed)  # noqa: S311 - to be repeated, not to be secret
    told = [0] * plan.people
    addresses = itertools.cycle(plan.addresses)
    with httpx.Client(headers={"Authorization": f"Bearer {plan.key}"}, timeout=60) as client:
        for start in range(0, plan.exposures, BATCH):
            batch = [_next(chance, told) for _ in range(min(BATCH, plan.exposures - start))]
            while (answer := client.post(f"{next(addresses)}/v1/exposures", json=batch)).status_code != httpx.codes.OK:
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    raise SystemExit(f"{answer.status_code} {answer.text}")
                time.sleep(0.1)
    return told


def _next(chance: random.Random, told: list[int]) -> dict[str, Any]:
    """One that is new to this application, or one that it told of before."""
    number = chance.randrange(len(told))
    if not told[number] or (told[number] < FLAGS and chance.random() < 0.5):
        flag = told[number]
        told[number] += 1
    else:
        flag = chance.randrange(told[number])
    shown = {"flag_key": f"flag-{flag}", "variation_key": variation(number, flag), "enabled": chance.random() < 0.9}
    return {"source": SOURCE, "identity": person(number), "time": time.time(), **shown}


if __name__ == "__main__":
    print(json.dumps(tell(Plan(*json.loads(sys.argv[1])))))  # noqa: T201 - what it is asked for
