"""Requests to throw at every address of the gateway, each made from a seed and its number alone."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.fuzz.bodies import mutated, odd
from tests.fuzz.check_requests import PIECES, question, text
from tests.fuzz.requests import HEADERS, METHODS, VERSIONS, Sent, framed, in_pieces
from tests.gateway.conftest import ACCOUNT
from tests.gateway.deciding import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FLAGS = ("flag", "listed", "with/slash")
SDK_KEY = "key"  # of the settings that are served

_USERS = ("alice", "bob", "carol", "José", "中文", "a:b", "x" * 1100, "\x00", "0")
AGENTS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UQ1A)",
    *("curl/8", "Mozilla/" + "9" * 3000, "(" * 1000, "Android " * 200, "a.a" * 500, " ;" * 1000, "é☃", "\x00"),
    *("Mozilla/5.0 (" + "; " * 500 + ")", "AppleTV/" * 150, "Opera Mini/" + "1." * 600, "Linux " * 170 + "Build/"),
)
ADDRESSES = (
    *("203.0.113.9", "198.51.100.7", "2001:db8::1", "::ffff:203.0.113.9", "fe80::1%eth0", "999.1.1.1", "1.2.3", "::"),
    *("203.0.113.9:80", "[2001:db8::1]", "0", "010.0.0.1", "127.1", "x" * 500, "²", " 203.0.113.9 ", "1/2"),
)
_ACCOUNTS = (*(ACCOUNT,) * 20, "999", "0", "no:account", "-1", "9" * 50, "²")
_KEYS = (*(SDK_KEY,) * 20, "another", "k" * 3000, "é", "a/b")
_NAMES = ("vwo_variationShown", "vwo_syncVisitorProp", "vwo_fmeSdkInit", "bought", "é", "x" * 3000)
_IDS = ('["alice","tmp1"]', '["alice"', "[]", "[[1]]", '["\\ud800"]', "[1,2]", str(["a"] * 101).replace("'", '"'))

# The names that mean something in a query, and what they may say.
_QUERIES: Mapping[str, tuple[str, ...]] = {
    "a": _ACCOUNTS,
    "accountId": _ACCOUNTS,
    "i": _KEYS,
    "env": _KEYS,
    "sdkKey": _KEYS,
    "userAgent": AGENTS,
    "visitor_ua": AGENTS,
    "ipAddress": ADDRESSES,
    "visitor_ip": ADDRESSES,
    "userId": (*_USERS, *_IDS),
    "aliasId": ("tmp1", "tmp2", *_USERS),
}
_MORE_HEADERS = (
    *(f"X-Forwarded-For: {address}" for address in ("203.0.113.9", "a, b, 203.0.113.9", ",,,", "\xe9", "x" * 3000)),
    *("If-None-Match: *", 'If-None-Match: W/"a", "b"', "If-None-Match: \xff", "Origin: https://x", "Origin: null"),
    *("X-Device-User-Agent: \xe9", "VWO-X-Forwarded-For: nowhere", "Accept: text/html", "Accept-Encoding: gzip"),
    *("Access-Control-Request-Method: POST", "X-Route: plain", "Range: bytes=0-1", "X-HTTP-Method-Override: PUT"),
)


def gateway_request(seed: int, number: int) -> Sent:
    """The request of that number; sometimes several at once."""
    chooser = random.Random(f"{seed}:{number}:gateway")  # noqa: S311 - anybody may guess it
    if chooser.random() < 0.05:
        asked = question(seed, number)
        return Sent(in_pieces(chooser, asked.raw()))
    made = [_one(chooser) for _ in range(chooser.choice((1,) * 12 + (2, 3, 20)))]
    raw, is_whole = b"".join(one for one, _ in made), all(whole for _, whole in made)
    if chooser.random() < 0.03:
        raw, is_whole = raw[: chooser.randrange(len(raw) + 1)], False
    return Sent(in_pieces(chooser, raw), is_whole)


def _one(chooser: random.Random) -> tuple[bytes, bool]:
    """A request, and whether it can be seen to end."""
    method, target, found = operation(chooser)
    content = b"" if found is None else mutated(chooser, found)
    headers = ["Host: x", *_credentials(chooser)]
    headers += chooser.choices(_MORE_HEADERS, k=chooser.choice((0, 0, 0, 1, 3)))
    version, is_odd = "HTTP/1.1", chooser.random() < 0.15
    if is_odd:
        headers += chooser.choices(HEADERS, k=chooser.choice((0, 1, 2)))
        method = chooser.choice((method, method, *METHODS))
        version = chooser.choice((version, version, *VERSIONS))
    payload = b""
    if found is not None or chooser.random() < 0.03:
        framing, payload = framed(chooser, content, 0.2 if is_odd else 0.0)
        headers += framing
    chooser.shuffle(headers)
    first = method.encode("latin-1") + b" " + target + b" " + version.encode()
    head = "\r\n".join(["", *headers, "", ""]).encode("latin-1", "replace")
    never_ends = payload == b"0\r\n" or payload.endswith(b"\r\n0\r\n")  # some chunks do without their last line
    return first + head + payload, not is_odd and not never_ends


def operation(chooser: random.Random) -> tuple[str, bytes, dict[str, Any] | None]:
    """What is asked: method, target, and a body where one belongs to it."""
    method, path, names, make = chooser.choice(_OPERATIONS)
    return method, _target(chooser, path, names), None if make is None else make(chooser)


def _target(chooser: random.Random, path: str, names: tuple[str, ...]) -> bytes:
    if chooser.random() < 0.05:
        path = chooser.choice(("/as01", "/é", "/a%2Fb", "/..", "//", "/" + "p" * 3000)) + path
    target = re.sub("[^!-~]", lambda found: quote(found[0]), path).encode()
    if "{key}" in path:
        flag = chooser.choice((*FLAGS, *FLAGS, "flag:size", "flag:none", "nowhere", "", ":", "é", "x" * 3000))
        target = target.replace(b"{key}", text(chooser, (flag,)).replace(b"#", b"%23"))
    asked = [name for name in names if chooser.random() < 0.7]
    chooser.shuffle(asked)
    query = b"&".join(name.encode() + b"=" + text(chooser, _QUERIES[name]) for name in asked)
    for _ in range(chooser.choice((0, 0, 0, 0, 1, 3))):
        at = chooser.randrange(len(query) + 1)
        query = query[:at] + chooser.choice(PIECES) + query[at + chooser.choice((0, 1, 3)) :]
    return target + b"?" + query if query else target


def _credentials(chooser: random.Random) -> list[str]:
    bad = ("", "Bearer", "Bearer wrong", "Basic a", "Bearer \xe9", SDK_KEY, "Bearer " + "x" * 3000)
    right = f"Authorization: Bearer {TOKEN}"
    return chooser.choice(([right], [right], [right], [], [f"Authorization: {chooser.choice(bad)}"]))


def _who(chooser: random.Random, **more: Any) -> dict[str, Any]:
    """Of whom a decision is wanted, and what more is asked."""
    found: dict[str, Any] = {"userId": chooser.choice(_USERS), **more}
    if chooser.random() < 0.7:
        found["customVariables"] = _variables(chooser)
    if chooser.random() < 0.3:
        found |= {"userAgent": chooser.choice(AGENTS), "ipAddress": chooser.choice(ADDRESSES)}
    if chooser.random() < 0.1:
        found["variationTargetingVariables"] = {"_vwoUserId": chooser.choice(_USERS), "plan": odd(chooser)}
    if chooser.random() < 0.1:
        found["postSegmentationVariables"] = chooser.choice((["plan"], ["none", "plan"], []))
    return found


def _variables(chooser: random.Random) -> dict[str, Any]:
    found = {"plan": chooser.choice(("alice", "42", odd(chooser))), "age": chooser.choice((30, "31", odd(chooser)))}
    if chooser.random() < 0.2:
        found[str(odd(chooser))] = odd(chooser)
    return found


def _event(chooser: random.Random) -> dict[str, Any]:
    about = {"name": chooser.choice(_NAMES), "time": 1795308506454, "props": {"id": 2, "vwo_envKey": SDK_KEY}}
    found = {"msgId": "m1", "visId": "5B1A", "sessionId": 1795308507, "event": about, "visitor": {"props": {}}}
    return {"d": found | ({"visitor_ip": chooser.choice(ADDRESSES)} if chooser.random() < 0.3 else {})}


def _batch(chooser: random.Random) -> dict[str, Any]:
    return {"ev": [_event(chooser) for _ in range(chooser.choice((0, 1, 2, 30)))]}


def _context(chooser: random.Random) -> dict[str, Any]:
    found = {"targetingKey": chooser.choice(_USERS), **_variables(chooser)}
    if chooser.random() < 0.3:
        found |= {"userAgent": chooser.choice(AGENTS), "ipAddress": chooser.choice(ADDRESSES)}
    return {"context": found}


def _flag(chooser: random.Random) -> dict[str, Any]:
    return _who(chooser, featureKey=chooser.choice((*FLAGS, *FLAGS, "nowhere")))


def _flags(chooser: random.Random) -> dict[str, Any]:
    return _who(chooser) if chooser.random() < 0.5 else _who(chooser, featureKeys=[*FLAGS, "nowhere"])


def _tracked(chooser: random.Random) -> dict[str, Any]:
    return _who(chooser, eventName=chooser.choice(("bought", *_NAMES)), eventProperties={"price": odd(chooser)})


def _attribute(chooser: random.Random) -> dict[str, Any]:
    return _who(chooser, attributeKey=chooser.choice(("plan", "é", "x" * 2000)), attributeValue=odd(chooser))


def _alias(chooser: random.Random) -> dict[str, Any]:
    return {"userId": chooser.choice(_USERS), "aliasId": chooser.choice(("tmp1", "tmp2", *_USERS))}


_Operation = tuple[str, str, tuple[str, ...], "Callable[[random.Random], dict[str, Any]] | None"]
_WHOSE = ("accountId", "sdkKey")
_OPERATIONS: tuple[_Operation, ...] = (
    *(("GET", path, (), None) for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/", "/nothing")),
    *(("GET", path, ("a", "i"), None) for path in ("/server-side/v2-settings", "/server-side/v2-pull")),
    *(("GET", "/get-user-details", ("userAgent", "ipAddress", "accountId"), None),) * 3,
    *(("POST", "/user-alias/setUserAlias", (*_WHOSE, "userId", "aliasId"), _alias),) * 2,
    *(("GET", "/user-alias/getAliasUserId", (*_WHOSE, "userId"), None),) * 2,
    *(("POST", "/events/t", ("a", "env", "visitor_ua", "visitor_ip"), _event),) * 2,
    *(("POST", "/server-side/batch-events-v2", ("a", "env"), _batch),) * 2,
    *(("POST", "/server-side/getFlag", _WHOSE, _flag),) * 2,
    ("POST", "/server-side/getFlags", _WHOSE, _flags),
    ("POST", "/server-side/trackEvent", _WHOSE, _tracked),
    ("POST", "/server-side/setAttribute", _WHOSE, _attribute),
    *(("POST", "/server-side/explain", _WHOSE, _flag),) * 2,
    *(("POST", "/ofrep/v1/evaluate/flags/{key}", (), _context),) * 2,
    ("POST", "/ofrep/v1/evaluate/flags", (), _context),
    ("GET", "/admin/api/v1/lists", _WHOSE, None),
)
