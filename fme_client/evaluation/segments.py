"""The segment language, compiled: a tree of functions of the view and the variables that the segment looks at."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from fme_client.evaluation import js
from fme_client.evaluation.devices import device_check
from fme_client.evaluation.js import Fault
from fme_client.evaluation.locations import location_check
from fme_client.evaluation.operands import Matcher, matcher, plain_matcher
from fme_client.evaluation.regex import Regexes, Unsupported
from fme_client.evaluation.view import View

Variables = Mapping[str, Any]
Check = Callable[[View, Variables], bool]

_LIST = re.compile(r"inlist\(([^)]+)\)")
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+|%")
_LOCATION = ("country", "region", "city")
_DEVICE = ("os", "browser_string", "device_type", "device")


def never(_view: View, _variables: Variables) -> bool:
    return False


def always(_view: View, _variables: Variables) -> bool:
    return True


def _fails(reason: str) -> Check:
    def check(_view: View, _variables: Variables) -> bool:
        raise Fault(reason)

    return check


class SegmentCompiler:
    """Compiles the segments of one settings document.

    `features`: keys of features by their numeric ids, for conditions on other flags.
    `regexes`: those parsed before, and by now. `unsupported`: conditions met so far whose regular expression can't be
    evaluated here; they match nothing.
    """

    def __init__(self, features: Mapping[float, str], regexes: Regexes | None = None) -> None:
        self._features = features
        self.regexes = regexes or Regexes()
        self.unsupported: list[str] = []

    def compile(self, segment: Any) -> Check:  # noqa: PLR0911 - one return an operator
        if not isinstance(segment, Mapping):
            return _fails("a segment is no object")
        key = js.first_key(segment)
        value = None if key is None else segment[key]
        match key:
            case "not":
                inner = self.compile(value)
                return lambda view, variables: not inner(view, variables)
            case "and":
                return self._every(value)
            case "or":
                return self._some(value)
            case "custom_variable":
                return self._custom_variable(value)
            case "user":
                return _user(value)
            case "ua":
                return _user_agent(self._matcher(matcher, value))
            case "ip_address":
                return _ip_address(self._matcher(plain_matcher, value))
            case "browser_version" | "os_version":
                return _version(key, self._matcher(plain_matcher, value))
        return never

    def _matcher(self, make: Callable[[Any, Regexes], Matcher], operand: Any) -> Matcher:
        try:
            return make(operand, self.regexes)
        except Unsupported:
            self.unsupported.append(operand)
            return lambda _, __: False
        except Fault as fault:
            reason = str(fault)

            def fail(_view: View, _value: str) -> bool:
                raise Fault(reason)

            return fail

    def _every(self, nodes: Any) -> Check:
        if nodes is None:
            return _fails("`and` without a list")
        if not isinstance(nodes, (list, str)):
            return always
        checks: list[Check] = []
        location: dict[str, Any] = {}
        for node in nodes:
            if isinstance(node, Mapping) and any(name in node for name in _LOCATION):
                # Conditions on the place count only where they are all that stands here.
                location.update({name: node[name] for name in _LOCATION if name in node})
                if len(location) == len(nodes):
                    checks.append(location_check(location))
                    break
            else:
                checks.append(self.compile(node))
        return _all(checks)

    def _some(self, nodes: Any) -> Check:
        if nodes is None:
            return _fails("`or` without a list")
        if not isinstance(nodes, (list, str)):
            return never
        checks: list[Check] = []
        devices: dict[str, list[str]] = {}
        keys = 0
        settled: Check | None = None
        before: list[Check] = []
        for node in nodes:
            for key in node if isinstance(node, Mapping) else ():
                if key in _DEVICE:
                    values = node[key] if isinstance(node[key], list) else [node[key]]
                    devices.setdefault(key, []).extend(value for value in values if isinstance(value, str))
                    keys += 1
                elif key == "featureId":
                    flag = self._flag(node[key])
                    if flag is not None:
                        # It decides, whatever follows.
                        return _settle(before, settled, _any([*checks, flag]))
            if devices and keys == len(nodes) and settled is None:
                before, settled, checks = checks, device_check(devices, self.regexes), []
            checks.append(self.compile(node))
        return _settle(before, settled, _any(checks))

    def _flag(self, condition: Any) -> Check | None:
        """The condition that the storage knows another flag for the user, or does not; None: it is no condition."""
        if condition is None:
            return _fails("`featureId` without a feature")
        if isinstance(condition, list):
            condition = {str(position): value for position, value in enumerate(condition)}
        feature_id = js.first_key(condition) if isinstance(condition, Mapping) else None
        state = None if feature_id is None else condition[feature_id]
        if feature_id is None or state not in ("on", "off"):
            return None
        key = self._features.get(js.parse_int(feature_id))
        if key is None:
            return never
        on = state == "on"
        return lambda view, _: bool(view.stored(key)) is on

    def _custom_variable(self, condition: Any) -> Check:
        if not isinstance(condition, Mapping):
            return _fails("`custom_variable` without a variable")
        name = js.first_key(condition)
        if name is None:
            return _for_variable("undefined", _fails_on("`custom_variable` without a variable"))
        operand = condition[name]
        if isinstance(operand, (list, str)) and "inlist" not in operand:
            return _for_variable(name, _on_text(self._matcher(matcher, operand)))
        if not isinstance(operand, str):
            return _for_variable(name, _fails_on("`custom_variable` with an operand that is no text"))
        found = _LIST.search(operand)
        if found is None:
            return never
        list_id = found[1]
        return _for_variable(name, lambda view, value: view.in_list(view.context.text(value), list_id))


def _all(checks: Sequence[Check]) -> Check:
    return _until(checks, decisive=False)


def _any(checks: Sequence[Check]) -> Check:
    return _until(checks, decisive=True)


def _until(checks: Sequence[Check], *, decisive: bool) -> Check:
    """`decisive`, as soon as one of `checks` says so; none after it is made."""
    if len(checks) == 1:
        return checks[0]
    fixed = tuple(checks)

    def check(view: View, variables: Variables) -> bool:
        for one in fixed:  # a generator would cost more than the conditions
            if one(view, variables) is decisive:
                return decisive
        return not decisive

    return check


def _settle(before: Sequence[Check], settled: Check | None, after: Check) -> Check:
    """`before` or what `settled` says; `after` only when that fails."""
    if settled is None:
        return after
    first, devices = _any(before), settled

    def check(view: View, variables: Variables) -> bool:
        if first(view, variables):
            return True
        try:
            return devices(view, variables)
        except Fault:
            return after(view, variables)

    return check


OnValue = Callable[[View, Any], bool]


def _for_variable(name: str, on_value: OnValue) -> Check:
    if name == "_vwoUserId":
        return lambda view, _: on_value(view, view.list_user)
    if name == "__proto__":
        # JavaScript loses a variable of this name when it copies the variables.
        return never

    def check(view: View, variables: Variables) -> bool:
        return name in variables and on_value(view, variables[name])

    return check


def _on_text(matches: Matcher) -> OnValue:
    def on_value(view: View, value: Any) -> bool:
        if value is None:
            return False
        return matches(view, view.context.text(value))

    return on_value


def _fails_on(reason: str) -> OnValue:
    def on_value(_view: View, _value: Any) -> bool:
        raise Fault(reason)

    return on_value


def _user(condition: Any) -> Check:
    if not isinstance(condition, str):
        return _fails("`user` without a text")
    users = frozenset(js.trim(user) for user in condition.split(","))
    return lambda view, _: view.list_user in users


def _user_agent(matches: Matcher) -> Check:
    def check(view: View, _variables: Variables) -> bool:
        return bool(view.user_agent) and matches(view, _decode_uri_component(view.user_agent or ""))

    return check


def _ip_address(matches: Matcher) -> Check:
    def check(view: View, _variables: Variables) -> bool:
        return bool(view.ip_address) and matches(view, view.ip_address or "")

    return check


def _version(name: str, matches: Matcher) -> Check:
    def check(view: View, _variables: Variables) -> bool:
        details = view.detail("userAgent")
        value = details.get(name) if isinstance(details, Mapping) else None
        return value is not None and matches(view, js.text(value))

    return check


def _decode_uri_component(value: str) -> str:
    return _PERCENT.sub(_decode_run, value) if "%" in value else value


def _decode_run(run: re.Match[str]) -> str:
    try:
        if len(run[0]) > 1:
            return unquote_to_bytes(run[0]).decode()
    except UnicodeDecodeError:
        pass
    raise Fault("the user agent has a percent sign that encodes nothing")
