"""What is sent over one connection: a few requests in a row, some changed, some with another request in the body."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, NamedTuple

from tests.fuzz.ports.mutations import Draft, mutate
from tests.fuzz.requests import in_pieces

if TYPE_CHECKING:
    from tests.fuzz.ports.routes import Port

# Behind everything, so that the connection comes to its end, and that an answer too many shows: nothing follows this.
LAST = b"GET /the-last-request HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_PLAIN_TARGET = re.compile(rb"/[!-~]*")


class Conversation(NamedTuple):
    """`methods`: of the requests, up to the first one of which it is unclear where it ends; there are no more answers.

    `requests`: how many were sent, but for the last, which is always the same. `is_whole`: the server can't wait for
    more. `is_plain`: nothing is odd. `has_last`: the last request is one of those that may be answered. `is_marked`:
    a request that must not be answered stands in a body. `unsigned`: which requests lack the credentials that they
    need. `names`: the changes.
    """

    number: int
    pieces: tuple[bytes, ...]
    methods: tuple[str, ...]
    requests: int
    is_whole: bool
    is_plain: bool
    has_last: bool
    is_marked: bool
    unsigned: tuple[bool, ...]
    names: tuple[str, ...]


def conversation(port: Port, seed: int, number: int) -> Conversation:
    """The conversation of that number; but for times and signatures the same with the same seed."""
    chooser = random.Random(f"{seed}:{number}:{port.name}")  # noqa: S311 - anybody may guess it
    is_marked = chooser.random() < 0.7
    drafts, raw, unsigned = [], b"", []
    for _ in range(chooser.choice((1,) * 7 + (2, 3, 6))):
        draft, sent, is_unsigned = _request(port, chooser, number, marked=is_marked)
        drafts.append(draft)
        unsigned.append(is_unsigned)
        raw += sent
    raw += LAST
    unclear = [place for place, draft in enumerate(drafts) if not draft.clear]
    methods = (*(draft.method for draft in drafts), "GET")
    is_cut = chooser.random() < 0.03
    if is_cut:
        raw = raw[: chooser.randrange(len(raw))]
    names = tuple(name for draft in drafts for name in draft.names)
    return Conversation(
        number=number,
        pieces=in_pieces(chooser, raw),
        methods=methods[: unclear[0] + 1] if unclear else methods,
        requests=len(drafts),
        is_whole=not is_cut and all(draft.ends for draft in drafts),
        is_plain=not is_cut and not names and all(_PLAIN_TARGET.fullmatch(draft.target) for draft in drafts),
        has_last=not unclear and not is_cut,
        is_marked=is_marked,
        unsigned=tuple(unsigned),
        names=(*names, "cut off") if is_cut else names,
    )


def _request(port: Port, chooser: random.Random, number: int, *, marked: bool) -> tuple[Draft, bytes, bool]:
    """The request as it was changed, its bytes, and whether nobody may be served who sends that."""
    request = port.request(chooser)
    while marked and port.marker.path in request.target:
        request = port.request(chooser)
    content = request.content
    if content is None and chooser.random() < 0.3:
        content = b""
    if marked and content is not None:
        content = _with_marker(port, chooser, content, number)
    draft = Draft(
        request.method, request.target, content, ["Host: x"], chunked=content is not None and chooser.random() < 0.3
    )
    if chooser.random() < 0.75:
        mutate(draft, chooser)
    credentials = request.sign(draft.content or b"")
    if draft.signs_in_trailers:
        draft.trailers += credentials
    else:
        draft.headers += credentials
    return draft, draft.render(chooser), bool(credentials) and draft.signs_in_trailers and request.is_guarded


def _with_marker(port: Port, chooser: random.Random, content: bytes, number: int) -> bytes:
    """The body with a whole request in it; as a server sees it that takes the body for what comes next."""
    planted = port.plant is not None and chooser.random() < 0.3
    marker = port.plant(number) if port.plant is not None and planted else port.marker.raw
    forms = (marker, marker * 3, content + marker, b"\r\n\r\n" + marker, b"0\r\n\r\n" + marker, b"\x00" * 20 + marker)
    return chooser.choice((content, *forms, *forms))
