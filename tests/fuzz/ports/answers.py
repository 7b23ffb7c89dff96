"""What came back over a connection, and whether it may be the answer to what was sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tests.support.raw_http import Answer, read_head

if TYPE_CHECKING:
    from tests.fuzz.ports.conversations import Conversation
    from tests.fuzz.ports.routes import Marker

_BEGIN = b"HTTP/1.1 "
_BODILESS = (204, 304)
_SWITCHED, _FIRST_FINAL, _FIRST_REFUSAL, _FAILED = 101, 200, 300, 500
_OF_TRAILERS = "credentials in trailers"  # an administration asks for them at addresses that are none, too
_OF_THE_LAST = (401, 404)  # an administration asks for the token first

_IS_OF_CREDENTIALS = re.compile(rb'"reason":"(unauthorized|(missing|malformed|bad)_signature)"')
_IDLE_SECONDS = 4.0  # less than after which idle connections are closed
SILENCE = "silence: neither answered nor closed"


class Outcome(NamedTuple):
    """`idle`: seconds from the last byte, of either side, until the server closed, or we gave up."""

    received: bytes
    seconds: float
    idle: float


class NoAnswerError(Exception):
    """Bytes that can't be the answer that is due."""


def failure(sent: Conversation, outcome: Outcome, marker: Marker) -> str:
    """What is wrong; empty where nothing is."""
    try:
        answers = read_answers(outcome.received, sent.methods)
    except NoAnswerError as error:
        return f"no answer: {error}"
    final = [answer for answer in answers if answer.status >= _FIRST_FINAL]
    is_full = len(final) == len(sent.methods)
    wrong = {
        "a request within a body is answered": sent.is_marked and any(map(marker.is_answered_by, final)),
        "answered 500": any(answer.status == _FAILED for answer in final),
        "switched protocols": any(answer.status == _SWITCHED for answer in answers),
        "a tunnel is granted": any(
            method == "CONNECT" and answer.status < _FIRST_REFUSAL
            for method, answer in zip(sent.methods, final, strict=False)
        ),
        "credentials in trailers are taken": any(
            is_unsigned and answer.status < _FIRST_REFUSAL
            for is_unsigned, answer in zip(sent.unsigned, final, strict=False)
        ),
        "more answers than requests": len(final) > len(sent.methods),
        "an answer after Connection: close": any(answer.headers.get("connection") == "close" for answer in final[:-1]),
        "two answers to one request": sent.has_last and is_full and final[-1].status not in _OF_THE_LAST,
        "right credentials are refused": _OF_TRAILERS not in sent.names
        and any(
            not is_unsigned and _IS_OF_CREDENTIALS.search(answer.body)
            for is_unsigned, answer in zip(
                sent.unsigned, final[:-1] if sent.has_last and is_full else final, strict=False
            )
        ),
        SILENCE: sent.is_whole and outcome.idle >= _IDLE_SECONDS,
        "plain requests are not answered": sent.is_plain and not is_full,
    }
    return next((what for what, is_so in wrong.items() if is_so), "")


def read_answers(received: bytes, methods: tuple[str, ...]) -> list[Answer]:
    """The answers, those that are cut off at the end left out. Raises `NoAnswerError`."""
    answers: list[Answer] = []
    finals = at = 0
    while at < len(received):
        head_end = received.find(b"\r\n\r\n", at) + 4
        if not received.startswith(_BEGIN, at) and not _BEGIN.startswith(received[at:]):
            if answers and _is_body_to_head(answers[-1], received[at:]):
                break
            raise NoAnswerError(repr(received[at : at + 20]))
        if head_end < 4:
            break
        status, headers = read_head(received[at : head_end - 4])
        method = methods[finals] if finals < len(methods) else "GET"
        has_body = status >= _FIRST_FINAL and status not in _BODILESS and method != "HEAD"
        end = head_end + (int(headers.get("content-length", len(received))) if has_body else 0)
        answers.append(Answer(status, headers, received[head_end:end]))
        finals += status >= _FIRST_FINAL
        at = end
    return answers


def _is_body_to_head(answer: Answer, rest: bytes) -> bool:
    """The protocol refuses a request before it knows its method: with a body, and closes."""
    return answer.headers.get("connection") == "close" and len(rest) == int(answer.headers["content-length"])
