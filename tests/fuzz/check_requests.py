"""Checks as SDKs might write them and as nobody should: targets made of whatever has a meaning on the way."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from attribute_lists import keys
from tests.gateway.conftest import ACCOUNT, Lists

if TYPE_CHECKING:
    import redis

LIST, COLON_LIST, ALIAS = "heap_premium_users", "67c858b8b8556:1741183160", "vwo:7"
OTHER_ACCOUNT = "999"
MEMBERS = (
    *("alice", "42", "a+b@x.com", "a b@x.com", "a b", "a&b", "a#b", "a=b", "a,b", "100%", "%41", "%2541", "a%2Bb"),
    *("José", "JosÃ©", "Jos\u0301e", "中文", "☃", "\x00", "\t", "?", "/", '"', "a&listId=other", "attribute=alice"),
    *("a&accountId=999", "a&sdkKey=k", "accountId=1", "\x7f", "é", "Ã©", "x" * 3000, "é" * 1000),
)
_LIST_IDS = (*(LIST,) * 8, *(COLON_LIST, ALIAS) * 2, "sleeping", "nowhere", "", "%FF", "#", "lïst")
_ACCOUNTS = (*(ACCOUNT,) * 8, OTHER_ACCOUNT, "", "no:account", "%31%32%33%34%35%36", "12345é")
_KEYS = ("sample_sdk_key", "another", "")
PIECES = (
    *(
        b"&",
        b"=",
        b"+",
        b"%",
        b"%%",
        b"%2",
        b"%zz",
        b"%00",
        b"%0d%0a",
        b"%20",
        b"%26",
        b"%23",
        b"%2526",
        b"%e9",
        b"%C3",
    ),
    *(
        b"%C3%A9",
        b"\xe9",
        b"\xc3\xa9",
        b"\xff",
        b"\x80",
        b"#",
        b"?",
        b"/",
        b";",
        b"a",
        b"Z",
        b"~",
        b"'",
        b'"',
        b"\\",
        b"|",
    ),
    *(b"&listId=", b"&listId=other", b"&listid=x", b"listId=", b"&attribute=", b"attribute=bob", b"&accountId=999"),
    *(
        b"&sdkKey=sample_sdk_key",
        b"&listId",
        b"&&",
        b"<",
        b">",
        b"{",
        b"}",
        b"^",
        b"`",
        b"[",
        b"]",
        b":",
        b"@",
        b"*",
        b"!",
    ),
)
_PATHS = (
    *(b"/check-attribute",) * 40,
    *(b"/as01/check-attribute",) * 10,
    *(b"/check%2Dattribute", b"/%61s01/check-attribute", b"/a%2Fb/check-attribute", b"/a%3Fb/check-attribute"),
    *(b"/Jos\xe9/check-attribute", b"/Jos%C3%A9/check-attribute", b"/../check-attribute", b"/a;b=c/check-attribute"),
    *(b"//check-attribute", b"/a/b/check-attribute", b"/check-attribute/", b"/check-attribute;a", b"/Check-attribute"),
    *(b"/check-attribute#", b"/a#b/check-attribute", b"/check-attribute/check-attribute", b"/check-attribut\xe9"),
    *(b"/a:b/check-attribute", b"/%/check-attribute", b"/%2/check-attribute", b"/a%20b/check-attribute", b"/check-"),
)
_HEADERS = (
    *(b"Connection: keep-alive", b"Accept: */*", b"User-Agent: vwo-fme-node-sdk/1.35.0", b"Content-Length: 0"),
    *(
        b"Accept-Encoding: gzip, deflate",
        b"accept-language: *",
        b"Cookie: name=Jos\xe9",
        b"X-Forwarded-For: 203.0.113.9",
    ),
    *(b"sec-fetch-mode: cors", b"Content-Type: application/json", b"Upgrade: websocket", b"X-Empty:", b"TE: trailers"),
)
_UNFIT = re.compile(rb"[\x80-\xff#]")


class Question(NamedTuple):
    """`target` holds bytes that a strict parser refuses; it is sent to the gateway as it is."""

    method: bytes
    target: bytes
    headers: tuple[bytes, ...]

    @property
    def has_body(self) -> bool:
        """Whether the answer has one."""
        return self.method != b"HEAD"

    @property
    def is_unfit(self) -> bool:
        """Whether a strict parser refuses it, or reads less than there is."""
        return _UNFIT.search(self.target) is not None

    def raw(self) -> bytes:
        return self._request(self.target, self.headers)

    def plain(self) -> bytes:
        """The same for the plain route: what no strict parser takes is percent-encoded."""
        encoded = _UNFIT.sub(lambda found: b"%%%02X" % found[0][0], self.target)
        return self._request(encoded, (*self.headers, b"X-Route: plain"))

    def _request(self, target: bytes, headers: tuple[bytes, ...]) -> bytes:
        return b"\r\n".join((self.method + b" " + target + b" HTTP/1.1", b"Host: gateway", *headers, b"", b""))


def question(seed: int, number: int) -> Question:
    """The question of that number."""
    chooser = random.Random(f"{seed}:{number}")  # noqa: S311 - anybody may guess it
    target = chooser.choice(_PATHS) + _query(chooser)
    headers = tuple(chooser.sample(_HEADERS, chooser.choice((0, 0, 1, 1, 2, 5))))
    return Question(b"HEAD" if chooser.random() < 0.05 else b"GET", target, headers)


def put_lists(store: redis.Redis) -> None:
    """The lists that the questions are about."""
    lists = Lists(store)
    store.set(keys.REGISTRY_IDENTITY, "of the questions")
    for name in (LIST, COLON_LIST):
        lists.put(name, *MEMBERS)
    lists.put("sleeping", *MEMBERS, active=False)
    lists.put(LIST, "alice", "José", account=OTHER_ACCOUNT)
    lists.alias(ALIAS, LIST)


def _query(chooser: random.Random) -> bytes:
    draw = chooser.random()
    if draw < 0.01:
        return b""
    if draw < 0.03:
        return chooser.choice((b"?", b"??", b"?&", b"?=", b"?attribute", b"?listId", b"?\xff", b"?#"))
    attribute, list_id = b"attribute=" + _value(chooser), b"listId=" + text(chooser, _LIST_IDS)
    parameters = [attribute, list_id]
    for name, texts, often in ((b"accountId=", _ACCOUNTS, 0.5), (b"sdkKey=", _KEYS, 0.1), (b"x=", _KEYS, 0.03)):
        if chooser.random() < often:
            parameters.append(name + text(chooser, texts))
    if chooser.random() < 0.2:
        chooser.shuffle(parameters)
    if chooser.random() < 0.05:
        parameters.remove(chooser.choice(parameters))
    if parameters and chooser.random() < 0.05:
        parameters.insert(chooser.randrange(len(parameters) + 1), chooser.choice(parameters))
    query = b"&".join(parameters)
    for _ in range(chooser.choice((0, 0, 0, 0, 0, 1, 3))):
        at = chooser.randrange(len(query) + 1)
        query = query[:at] + chooser.choice(PIECES) + query[at + chooser.choice((0, 0, 1, 3)) :]
    return b"?" + query


def _value(chooser: random.Random) -> bytes:
    match chooser.randrange(10):
        case 0:
            return b"".join(chooser.choices(PIECES, k=chooser.choice((0, 1, 2, 5, 12))))
        case 1:
            return bytes(chooser.choices([*range(0x21, 0x7F), *range(0x80, 0x100)], k=chooser.choice((1, 3, 20))))
        case 2:
            return chooser.choice((b"x", b"%C3%A9", b"\xe9", b"a+", b"&", b"#")) * chooser.choice((1, 100, 1000, 1365))
        case 3:
            return b"nobody-%d" % chooser.randrange(1000)
        case _:
            return text(chooser, MEMBERS)


def text(chooser: random.Random, texts: tuple[str, ...]) -> bytes:
    """One of `texts`, encoded as some SDK does, or twice, or hardly."""
    chosen = chooser.choice(texts)
    fits_latin_1 = max(chosen, default="") <= "\xff"
    raw = chosen.encode("latin-1" if fits_latin_1 and chooser.random() < 0.3 else "utf-8")
    match chooser.randrange(8):
        case 0 | 1:
            found = quote(raw, safe="")
        case 2:
            found = quote(raw, safe="&+#=,:")
        case 3:
            found = quote(raw, safe="").replace("%20", "+")
        case 4 if chooser.random() < 0.5:
            found = quote(quote(raw, safe=""), safe="")
        case 5:
            found = "".join(f"%{byte:02{chooser.choice('xX')}}" for byte in raw)
        case _:
            return re.sub(rb"[\x00-\x20\x7f]", lambda control: b"%%%02X" % control[0][0], raw)
    return found.encode()
