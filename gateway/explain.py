"""Why a flag comes out as it does for a user: rules, conditions, lists, buckets. Pure: a generator of questions."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from fme_client.evaluation import decide, js
from fme_client.evaluation.checking import check_rule
from fme_client.evaluation.hashing import BASIS_POINTS, PERCENT, bucket
from fme_client.evaluation.js import Fault
from fme_client.evaluation.rules import PERSONALIZE, ROLLOUT, TESTING, Rule, Variation
from fme_client.evaluation.segments import SegmentCompiler
from fme_client.evaluation.view import Unanswered, View
from gateway.explain_segments import explain_segment

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from fme_client.evaluation import Answer, Context, Decision, Question, Settings
    from fme_client.evaluation.features import Feature

_SETTLED = "not tried: a rule before it settled the matter"
_NO_ROLLOUT = "not tried: no rollout rule lets the user in"


class Explanation(NamedTuple):
    """`rules`: what became of each, in the order in which they are tried. `asked`: what the decision wanted to know."""

    decision: Decision
    rules: list[dict[str, Any]]
    asked: set[Question]


def explain(settings: Settings, key: str, context: Context) -> Generator[Question, Answer, Explanation]:
    """The decision on one flag, and why.

    It asks more than the decision does: every list that the rules tried name, whether it mattered or not.
    """
    asked: set[Question] = set()
    evaluation = decide(settings, key, context)
    try:
        question = next(evaluation)
        while True:
            asked.add(question)
            question = evaluation.send((yield question))
    except StopIteration as done:
        decision: Decision = done.value
    feature = settings.features.get(key)
    if feature is None:
        return Explanation(decision, [], asked)
    known: dict[Question, Answer] = {}
    while True:
        try:
            return Explanation(decision, _Reasons(settings, feature, context, known).rules(), asked)
        except Unanswered as unanswered:
            question = unanswered.question
        known[question] = yield question


class _Knowing(View):
    """A view that finds answers by their question."""

    __slots__ = ("_known",)

    def __init__(self, context: Context, known: Mapping[Question, Answer]) -> None:
        super().__init__(context, context.id.encode("utf-8", "replace"), (), storage=False)
        self._known = known

    def _ask(self, question: Question) -> Answer:
        if question not in self._known:
            raise Unanswered(question)
        return self._known[question]


class _Reasons:
    """One pass over the rules; a question that has no answer yet ends it with `Unanswered`."""

    def __init__(
        self, settings: Settings, feature: Feature, context: Context, known: Mapping[Question, Answer]
    ) -> None:
        self._settings = settings
        self._feature = feature
        self._context = context
        self._known = known
        self._view = self._new_view()  # what a rule finds out, those behind it know
        documents = settings.document["features"]
        numbered = {one["id"]: one["key"] for one in reversed(documents) if not isinstance(one["id"], str)}
        self._compiler = SegmentCompiler(numbered, settings.regexes)

    def rules(self) -> list[dict[str, Any]]:
        """Rollout rules first: where there are any, one must let the user in before another rule is tried."""
        feature = self._feature
        explained, is_in = self._phase(feature.rollouts)
        if feature.rollouts and not is_in:
            return explained + [_about(rule) | {"outcome": _NO_ROLLOUT} for rule in feature.experiments]
        if is_in:
            self._view.rollouts_passed.add(feature.key)
        return explained + self._phase(feature.experiments)[0]

    def _phase(self, rules: Sequence[Rule]) -> tuple[list[dict[str, Any]], bool]:
        """The first rule that is for the user settles it; whether the user got a variation."""
        explained: list[dict[str, Any]] = []
        is_settled = is_given = False
        for rule in rules:
            about = _about(rule)
            if is_settled:
                about["outcome"] = _SETTLED
            else:
                is_settled, is_given = self._try(rule, about)
            explained.append(about)
        return explained, is_given

    def _try(self, rule: Rule, about: dict[str, Any]) -> tuple[bool, bool]:
        """Whether the rule settles the matter, and whether the user gets a variation of it."""
        try:
            checked = check_rule(self._settings, self._feature, rule, self._view)
            variation = None
            if checked is not None:
                variation = checked if isinstance(checked, Variation) else rule.variation_for(self._view)
        except Fault as fault:
            about["outcome"] = f"the Node SDK fails here, and the flag is off: {fault}"
            return True, False
        about |= self._details(rule)
        if checked is None:
            about["outcome"] = self._refusal(rule)
            return False, False
        if variation is None:
            about["outcome"] = "it is for the user, whose bucket is outside its traffic"
            return True, False
        about["variation"] = variation.key
        about["outcome"] = "the user is whitelisted" if checked is variation else "the user gets this variation"
        return True, True

    def _refusal(self, rule: Rule) -> str:
        with contextlib.suppress(Fault):
            if rule.group is not None and rule.lets_in(self._user_of(rule)):
                return "another rule of its mutually exclusive group has the user, or none has"
        return "its conditions do not hold"

    def _details(self, rule: Rule) -> dict[str, Any]:
        view, found = self._user_of(rule), dict[str, Any]()
        custom = self._context.custom_variables
        segments = self._segments_of(rule)
        if segments:
            found["segments"] = explain_segment(segments, self._compiler.compile, lambda check: check(view, custom))
        targeting = self._context.variation_targeting_variables
        forced = [
            {
                "variation": variation.key,
                "segments": explain_segment(
                    variation.segments, self._compiler.compile, lambda check: check(view, targeting)
                ),
            }
            for _, variation in rule.forced
        ]
        if forced:
            found["whitelist"] = forced
        if rule.group is not None:
            found["group"] = {
                "id": rule.group.id,
                "of": [one.campaign_id for _, some in rule.group.members for one in some or ()],
            }
        found["traffic"] = {
            "bucket": bucket(rule.part_prefix + view.user_key, PERCENT),
            "upTo": rule.allocation if js.truthy(rule.allocation) else 0,
        }
        if rule.kind == TESTING:
            found["shares"] = self._shares(rule, view)
        return found

    def _shares(self, rule: Rule, view: View) -> dict[str, Any]:
        ranges = [
            {"variation": variation.key, "from": start, "to": end}
            for variation, (start, end) in zip(rule.variations, rule.ranges.bounds, strict=True)
            if start > 0
        ]
        return {"bucket": bucket(rule.share_prefix + view.user_key, BASIS_POINTS), "ranges": ranges}

    def _segments_of(self, rule: Rule) -> Any:
        if rule.kind in (ROLLOUT, PERSONALIZE):
            return rule.variations[0].segments if rule.variations else None
        campaigns = self._settings.document["campaigns"]
        return next((one["segments"] for one in campaigns if one["key"] == rule.key), None)

    def _user_of(self, rule: Rule) -> View:
        """The user as this rule sees it."""
        view = self._new_view()
        user = self._context.id
        view.list_user = self._settings.visitor_id(user) if rule.list_by_visitor_id else user
        return view

    def _new_view(self) -> View:
        view = _Knowing(self._context, self._known)
        if self._feature.wants_details and self._context.user_details is None:
            view.ask_details()
        return view


def _about(rule: Rule) -> dict[str, Any]:
    return {"rule": rule.rule_key, "campaign": rule.key, "campaignId": rule.campaign_id, "kind": rule.kind}
