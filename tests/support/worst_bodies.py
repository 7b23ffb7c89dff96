"""The requests that take longest to read: as large as is allowed, and made of what costs a reader most."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from fme_client.identity import get_uuid
from foundation.settings import MEBIBYTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ACCOUNT, KEY = "123456", "sample_sdk_key"

ONE, BATCH = f"/events/t?a={ACCOUNT}&env={KEY}", f"/server-side/batch-events-v2?a={ACCOUNT}&env={KEY}"
_WHOSE = f"accountId={ACCOUNT}&sdkKey={KEY}"
GET_FLAG, GET_FLAGS = f"/server-side/getFlag?{_WHOSE}", f"/server-side/getFlags?{_WHOSE}"
TRACK, ATTRIBUTE = f"/server-side/trackEvent?{_WHOSE}", f"/server-side/setAttribute?{_WHOSE}"
OFREP = "/ofrep/v1/evaluate/flags"
SET_ALIAS, GET_ALIAS = f"/user-alias/setUserAlias?{_WHOSE}", f"/user-alias/getAliasUserId?{_WHOSE}"

OF_EVENTS, OF_DECISIONS, OF_EXPORTS = 8 * MEBIBYTE, MEBIBYTE, 4 * MEBIBYTE  # bytes that a body may have
_OF_AN_EVENT = 64 * 1024
_OF_A_HEAD = 60 * 1024


class Worst(NamedTuple):
    """`make`: the body, made when it is needed; a request without one is a GET."""

    name: str
    path: str
    make: Callable[[], bytes] | None = None
    headers: Mapping[str, str] = {}


def filled(start: bytes, piece: bytes, end: bytes, size: int) -> bytes:
    """`start`, as many of `piece` as `size` bytes have room for, `end`. A comma at its end is left out once."""
    whole = start + piece * ((size - len(start) - len(end)) // len(piece))
    return whole.removesuffix(b",") + end


def of_event(size: int = 0, *, user: str = "alice", name: str = "vwo_variationShown", **more: Any) -> bytes:
    """An event as SDKs send it, of `size` bytes at least."""
    about = {"name": name, "time": 1795308506454, "props": {"id": 1, "variation": 1, "vwo_envKey": KEY}}
    data = {"msgId": "m", "visId": get_uuid(user, ACCOUNT), "event": about, **more}
    whole = json.dumps({"d": data}).encode()
    return whole[:-2] + b',"pad":"%b"}}' % (b"x" * max(0, size - len(whole) - 9)) if size else whole


def of_gateway() -> Iterator[Worst]:
    yield from _batches()
    yield from _single_events()
    yield from _decisions()
    yield from _aliases()
    yield from _heads()


def _batches() -> Iterator[Worst]:
    tiny = b'{"d":{"event":{"name":"x"}}},'
    exposures = b",".join(of_event(user=f"user{number}") for number in range(5000))
    nested = b"[" * 500 + b"]" * 500 + b","
    for name, make in (
        ("8 MiB of small events", lambda: filled(b'{"ev":[', tiny, b"]}", OF_EVENTS)),
        ("20,000 small events", lambda: filled(b'{"ev":[', tiny, b"]}", 20_000 * len(tiny))),
        ("5,000 exposures", lambda: b'{"ev":[' + exposures + b"]}"),
        ("5,000 events of 1.6 KB", lambda: b'{"ev":[' + b",".join([of_event(1600)] * 5000) + b"]}"),
        ("8 MiB of numbers", lambda: filled(b'{"ev":[', b"0,", b"]}", OF_EVENTS)),
        ("8 MiB of empty objects", lambda: filled(b'{"ev":[', b"{},", b"]}", OF_EVENTS)),
        ("8 MiB of nested lists", lambda: filled(b'{"ev":[', nested, b"]}", OF_EVENTS)),
        ("events of 64 KiB of lists", lambda: filled(b'{"ev":[', _listy_event() + b",", b"]}", OF_EVENTS)),
        ("one event of 8 MiB of lists", lambda: filled(b'{"ev":[{"d":{"a":[', b"[],", b"]}}]}", OF_EVENTS)),
        ("one text of 8 MiB", lambda: filled(b'{"ev":["', b"x", b'"]}', OF_EVENTS)),
        ("one text of 8 MiB of escapes", lambda: filled(b'{"ev":["', b"\\u00e9", b'"]}', OF_EVENTS)),
        ("8 MiB of half pairs", lambda: filled(b'{"ev":["', b"\\ud83d", b'"]}', OF_EVENTS)),
        ("8 MiB of blanks", lambda: filled(b'{"ev":[', b" ", b"]}", OF_EVENTS)),
        ("8 MiB of opening brackets", lambda: b"[" * OF_EVENTS),
        ("8 MiB of other fields", lambda: filled(b'{"ev":[],', b'"a":0,', b"}", OF_EVENTS)),
        ("50,000 users", lambda: _with_users(50_000)),
        ("20,000 users", lambda: _with_users(20_000)),
        ("8 MiB of users", lambda: filled(b'{"ev":[],"users":[', b'"abcdefgh",', b"]}", OF_EVENTS)),
    ):
        yield Worst(f"batch: {name}", BATCH, make)


def _listy_event() -> bytes:
    return filled(b'{"d":{"event":{"name":"vwo_variationShown"},"a":[', b"[],", b"]}}", _OF_AN_EVENT - 8)


def _with_users(count: int) -> bytes:
    users = json.dumps([f"user{number}-{time.monotonic_ns()}" for number in range(count)]).encode()
    events = b",".join([of_event()] * 20_000)
    return b'{"ev":[' + events + b'],"users":' + users + b"}"


def _single_events() -> Iterator[Worst]:
    visitor = {"X-Device-User-Agent": "Browser/1", "VWO-X-Forwarded-For": "203.0.113.9"}
    yield Worst("event: 64 KiB of lists", ONE, _listy_event, visitor)
    half = b'{"d":{"event":{"name":"vwo_variationShown"},"a":"'
    yield Worst("event: 64 KiB of half pairs", ONE, lambda: filled(half, b"\\ud83d", b'"}}', _OF_AN_EVENT - 8), visitor)
    lists = b'{"d":{"event":{"name":"vwo_variationShown"},"a":['
    yield Worst("event: 8 MiB of lists", ONE, lambda: filled(lists, b"[],", b"]}}", OF_EVENTS), visitor)
    yield Worst("event: 8 MiB of opening brackets", ONE, lambda: b"[" * OF_EVENTS)


def _decisions() -> Iterator[Worst]:
    many = json.dumps({f"v{number}": number for number in range(60_000)}).encode()
    named = json.dumps([f"v{number}" for number in range(9_000)]).encode()
    some = json.dumps({f"v{number}": number for number in range(9_000)}).encode()
    flag = b'{"featureKey":"premium_dashboard","userId":"alice",'
    lists = b'"customVariables":{"a":['
    keys = json.dumps(["premium_dashboard", *(f"flag{number}" for number in range(999))]).encode()
    for name, path, make in (
        ("getFlag: 60,000 variables", GET_FLAG, lambda: flag + b'"customVariables":' + many + b"}"),
        ("getFlag: 1 MiB of lists", GET_FLAG, lambda: filled(flag + lists, b"[],", b"]}}", OF_DECISIONS)),
        (
            "getFlag: 9,000 variables, sent on",
            GET_FLAG,
            lambda: flag + b'"postSegmentationVariables":' + named + b',"customVariables":' + some + b"}",
        ),
        (
            "getFlags: 1,000 flags, variables sent on",
            GET_FLAGS,
            lambda: (
                b'{"userId":"alice","featureKeys":'
                + keys
                + b',"postSegmentationVariables":'
                + named
                + b',"customVariables":'
                + some
                + b"}"
            ),
        ),
        (
            "getFlags: 1 MiB of keys",
            GET_FLAGS,
            lambda: filled(b'{"userId":"alice","featureKeys":[', b'"a",', b"]}", OF_DECISIONS),
        ),
        (
            "trackEvent: 60,000 properties",
            TRACK,
            lambda: b'{"eventName":"premium_dashboard_opened","userId":"alice","eventProperties":' + many + b"}",
        ),
        (
            "setAttribute: 1 MiB of text",
            ATTRIBUTE,
            lambda: filled(b'{"userId":"alice","attributeKey":"a","attributeValue":"', b"\\u00e9", b'"}', OF_DECISIONS),
        ),
        ("OFREP: 60,000 variables", f"{OFREP}/premium_dashboard", lambda: b'{"context":' + _targeted(many) + b"}"),
        (
            "OFREP bulk: 1 MiB of lists",
            OFREP,
            lambda: filled(b'{"context":{"targetingKey":"alice","a":[', b"[],", b"]}}", OF_DECISIONS),
        ),
    ):
        yield Worst(name, path, make)


def _targeted(many: bytes) -> bytes:
    return b'{"targetingKey":"alice",' + many[1:]


def _aliases() -> Iterator[Worst]:
    yield Worst("alias: 64 KiB of fields", SET_ALIAS, lambda: filled(b"{", b'"a":[],', b'"b":0}', 64 * 1024))
    yield Worst("alias: a long question", f"{GET_ALIAS}&userId=[{'7,' * (_OF_A_HEAD // 2)}7]")


def _heads() -> Iterator[Worst]:
    yield Worst("X-User-Id of 60 KiB", ONE, of_event, {"X-User-Id": "%c3%a9" * (_OF_A_HEAD // 6)})
    many, escaped = "&a" * (_OF_A_HEAD // 2), "%c3%a9" * (_OF_A_HEAD // 6)
    for name, path in (
        ("settings", f"/server-side/v2-settings?a={ACCOUNT}&i={KEY}"),
        ("user details", "/get-user-details?userAgent=x"),
        ("check", f"/check-attribute?attribute=alice&listId=heap_premium_users&accountId={ACCOUNT}"),
    ):
        yield Worst(f"{name}: 30,000 parameters", path + many)
        yield Worst(f"{name}: a parameter of 60 KiB", f"{path}&b={escaped}")
    yield Worst("check: a value of 60 KiB", f"/check-attribute?attribute={escaped}&listId=heap_premium_users")
    yield Worst("user details: a user agent of 60 KiB", f"/get-user-details?userAgent={'Mozilla/5.0+(' * 4000}")
    yield Worst("event: 30,000 parameters", ONE + many, of_event)
    yield Worst("event: 5,000 headers", ONE, of_event, {f"x{number}": "1" for number in range(5000)})


def of_export(key: str, sign: Callable[[bytes], Mapping[str, str]]) -> Iterator[Worst]:
    """What heap-export is sent with its bearer `key`; `sign` gives the headers of Statsig's signature."""
    bearer = {"Authorization": f"Bearer {key}"}
    events, exposures, statsig = "/v1/events", "/v1/exposures", "/webhooks/statsig"
    small = b'{"type":"track","event":"a","userId":"u"},'
    track = b'{"type":"track","event":"a","userId":"u","properties":{"a":['
    many = json.dumps({f"p{number}": number for number in range(900)}).encode()
    gates = filled(b'{"data":[', _GATE + b",", b"]}", OF_EXPORTS)
    numbers = filled(b"[", b"0,", b"]", OF_EXPORTS)
    for name, path, make in (
        ("4 MiB of numbers", events, lambda: numbers),
        ("4 MiB of empty objects", events, lambda: filled(b'{"batch":[', b"{},", b"]}", OF_EXPORTS)),
        ("4 MiB of small events", events, lambda: filled(b'{"events":[', small, b"]}", OF_EXPORTS)),
        ("one event of 4 MiB of lists", events, lambda: filled(track, b"[],", b"]}}", OF_EXPORTS)),
        ("4 MiB of opening brackets", events, lambda: b"[" * OF_EXPORTS),
        ("one text of 4 MiB", events, lambda: filled(b'["', b"\\u00e9", b'"]', OF_EXPORTS)),
        ("10,000 empty objects", events, lambda: filled(b'{"batch":[', b"{},", b"]}", 30_000)),
        ("events of 64 KiB of lists", events, lambda: _full_of(filled(track, b"[],", b"]}}", _OF_AN_EVENT))),
        ("events with 900 properties", events, lambda: _full_of(track[:-6] + many + b"}")),
        ("10,000 exposures", exposures, lambda: b"[" + b",".join(map(_exposure, range(10_000))) + b"]"),
    ):
        yield Worst(f"{path}: {name}", path, make, bearer)
    yield Worst(f"{statsig}: 4 MiB of numbers", statsig, lambda: numbers, sign(numbers))
    yield Worst(f"{statsig}: 4 MiB of exposures", statsig, lambda: gates, sign(gates))


_GATE = b'{"eventName":"statsig::gate_exposure","userID":"u","metadata":{"gate":"g","gateValue":"true"}}'


def _full_of(item: bytes) -> bytes:
    return filled(b"[", item + b",", b"]", OF_EXPORTS)


def _exposure(number: int) -> bytes:
    return b'{"source":"vwo","flag_key":"f","variation_key":"v","identity":"ann%d"}' % number
