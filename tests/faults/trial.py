"""One fault under load: what everybody was answered before, meanwhile and after, and what of it was wrong."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.faults.sites import ACCOUNT, LIST
from tests.support.load import KNOWING, TRUE_STATES, Answer, Load
from tests.support.waiting import until
from tests.write_side.sides import FILES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.faults import Fault
    from tests.faults.sites import Site
    from tests.write_side.sides import WriteSide

# One list changes right before the fault: who is in it, by what becomes of them.
STAYING = [f"staying-{number}" for number in range(40)]
LEAVING = [f"leaving-{number}" for number in range(10)]  # members that nobody may take for members any more
JOINING = [f"joining-{number}" for number in range(10)]
STRANGERS = [f"stranger-{number}" for number in range(10)]
QUIET = [f"quiet-{number}" for number in range(10)]  # members nobody has asked about before
_CHANGING = STAYING + LEAVING + JOINING + STRANGERS
# The other does not change, and everybody was asked about: nothing of it may be forgotten.
REGULARS = [f"regular-{number}" for number in range(20)]
OUTSIDERS = [f"outsider-{number}" for number in range(10)]
_OTHER_SEGMENT = {"name": "Regulars", "segment_id": 2}
_ASKED = dict.fromkeys(_CHANGING, LIST) | dict.fromkeys(REGULARS + OUTSIDERS, "heap_regulars")

_WRONG_FOR_MEMBERS = ("not_in", "stale_not_in", "unknown_list", "inactive_list")
_PATIENCE_SECONDS = 30.0


@dataclass
class Report:
    """Times are seconds; `answers` are in the order in which they came."""

    fault: Fault
    answers: list[Answer] = field(default_factory=list)
    known: float = 0.0  # the store had told of everybody who is asked about
    acknowledged: float = 0.0  # the last change
    begun: float = 0.0
    mended: float = 0.0
    readiness: dict[str, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)  # of the gateway's log
    counted: dict[str, int] = field(default_factory=dict)

    def states(self, start: float, end: float) -> Counter[str]:
        """Of the checks that were asked in that time."""
        return Counter(answer.state for answer in self.answers if start <= answer.sent < end)

    def shown(self) -> Counter[str]:
        """By state, all answers."""
        return Counter(answer.state for answer in self.answers)

    def noticed(self) -> float:
        """From the fault's begin to the first answer that did not come from the store."""
        strange = (answer.answered for answer in self.answers if answer.state not in KNOWING)
        return next((when - self.begun for when in strange if when > self.begun), math.inf)

    def slowest(self) -> Answer:
        return max(self.answers, key=lambda answer: answer.seconds)

    def over(self, seconds: float) -> int:
        """How many answers took longer, without what the client itself was late."""
        return sum(answer.seconds - answer.late > seconds for answer in self.answers)

    def forgotten(self) -> int:
        """How often one who was asked about, in a list that had not changed, was said to be out of it."""
        return sum(map(self._is_forgotten, self.answers))

    def recovery(self) -> float:
        """From the store's return to the last answer that did not come from it."""
        late = [answer.answered for answer in self.answers if answer.state not in KNOWING]
        return max([0.0, *(when - self.mended for when in late)])

    def violations(self) -> list[str]:
        """Answers that must not be, whatever is broken."""
        found = [text for answer in self.answers if (text := self._wrong(answer))]
        if self.counted != dict(self.shown()):
            found.append(f"/metrics counted {self.counted}, answered were {dict(self.shown())}")
        return found + self.complaints

    def _is_forgotten(self, answer: Answer) -> bool:
        return answer.who.startswith("regular") and answer.sent > self.known and not answer.is_true

    def _wrong(self, answer: Answer) -> str:
        after = answer.sent > self.acknowledged
        kind = answer.who.partition("-")[0]
        reasons = {
            "no 200": answer.status != 200,
            "neither true nor false": answer.body not in ("true", "false"),
            "not what X-Membership says": answer.is_true != (answer.state in TRUE_STATES),
            "true of one who never was in": answer.is_true and kind in ("stranger", "outsider"),
            "false of one who always was in": self._is_forgotten(answer),
            "true of one who had left": answer.is_true and kind == "leaving" and after,
            "a member is said to be none": answer.state in _WRONG_FOR_MEMBERS
            and (kind in ("staying", "quiet", "regular") or (kind == "joining" and after)),
        }
        when = f"{answer.sent - self.begun:+.3f} s from the fault, {answer.sent - self.mended:+.3f} s from its end"
        return "; ".join(
            f"{reason}: {answer.who} {answer.status} {answer.body} {answer.state}, asked {when}"
            for reason, holds in reasons.items()
            if holds
        )


def play(fault: Fault, directory: Path, side: WriteSide = FILES, *, rate: float, seconds: float) -> Report:
    """Let `fault` last for `seconds` (of answers at that rate) while `rate` checks a second are asked."""
    report = Report(fault)
    with fault.site(directory, side) as site:
        site.push(add=STAYING + LEAVING + QUIET)
        site.push(add=REGULARS, **_OTHER_SEGMENT)
        with _load(site, _ASKED, rate) as load:
            for who in _ASKED:
                load.wait_for(partial(_is_known, who), what=f"an answer about {who}", since=1.0)
            report.known = time.monotonic()
            site.push(add=JOINING, remove=LEAVING)
            report.acknowledged = time.monotonic()
            if fault.once_heard:
                load.wait_for(_comes_from_the_store, what="an answer after the last change")
            report.begun = time.monotonic()
            fault.begin(site)
            if fault.shows:
                load.wait_for(lambda answer: answer.state in fault.shows, what="the fault")
            _wait_for_readiness(site, fault.says)
            report.readiness["meanwhile"] = _described(site)
            with _load(site, dict.fromkeys(QUIET, LIST), rate / 20) as others:
                load.wait_for(
                    _any, what="answers during the fault", count=int(rate * seconds), seconds=2 * seconds + 30
                )
                others.wait_for(_any, what="answers about those whom nobody asked about", count=len(QUIET), since=1.0)
                fault.end(site)
                report.mended = time.monotonic()
                for those in (load, others):
                    those.wait_for(_comes_from_the_store, what="answers of the store")
                _wait_for_readiness(site, frozenset())
                report.readiness["after"] = _described(site)
                load.wait_for(_any, what="answers afterwards", count=int(rate * min(seconds, 2)))
        report.answers = sorted(load.answers + others.answers, key=lambda answer: answer.answered)
        report.counted = site.counted()
        report.complaints = [line for line in site.gateway.lines if " ERROR " in line or "Traceback" in line]
    return report


def _load(site: Site, people: dict[str, str], rate: float) -> Load:
    return Load(site.gateway.address, people, account=ACCOUNT, rate=rate)


def _is_known(who: str, answer: Answer) -> bool:
    return answer.who == who and _comes_from_the_store(answer)


def _comes_from_the_store(answer: Answer) -> bool:
    return answer.state in KNOWING


def _any(_: Answer) -> bool:
    return True


def _wait_for_readiness(site: Site, reasons: frozenset[str]) -> None:
    """Until `/readyz` names all of `reasons`; without any, until it says that all is well."""
    body: dict[str, Any] = {}

    def told() -> bool:
        nonlocal body
        status, body = site.readiness()
        assert status == 200
        if not reasons:
            return bool(body == {"status": "ok"})
        return body["status"] == "degraded" and reasons <= set(body["reasons"])

    try:
        until(told, seconds=_PATIENCE_SECONDS)
    except AssertionError:
        wanted = ", ".join(reasons) or "nothing"
        raise AssertionError(f"/readyz tells {body} and not of {wanted}; the log:\n{site.gateway.log()}") from None


def _described(site: Site) -> str:
    _, body = site.readiness()
    return ", ".join([str(body["status"]), *body.get("reasons", [])])
