"""What went wrong, without a user's data: errors of `requests`, say, hold the URL."""

from __future__ import annotations

import socket
import ssl
import traceback
from pathlib import Path

import requests
import urllib3

from fme_client.errors import NetworkError

_KINDS: tuple[tuple[str, str, tuple[type[BaseException], ...]], ...] = (
    (
        "tls",
        "the server's certificate or TLS is not accepted",
        (requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError),
    ),
    ("name", "the server's name is not known", (urllib3.exceptions.NameResolutionError, socket.gaierror)),
    ("unreachable", "the server can't be reached", (urllib3.exceptions.NewConnectionError, ConnectionRefusedError)),
    ("deadline", "no answer came in time", (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)),
    ("cut_off", "the connection ended before the answer", (urllib3.exceptions.ProtocolError, ConnectionError)),
)


def named(error: Exception) -> NetworkError:
    """The error as a kind and a message of ours."""
    causes = _causes(error)
    for kind, message, classes in _KINDS:
        if any(isinstance(cause, classes) for cause in causes):
            return NetworkError(kind, message)
    return NetworkError("failed", f"the request failed ({type(error).__name__})")


UNFORESEEN = "unforeseen"  # kind of a `NetworkError` that is a fault of ours


def unforeseen(error: BaseException) -> str:
    """An error that is nobody's intention, as its type and place: its text may hold a user's data."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{UNFORESEEN} {type(error).__name__}" + "".join(f" at {Path(at.filename).name}:{at.lineno}" for at in last)


def _causes(error: BaseException) -> list[BaseException]:
    """The error and those inside it: `requests` keeps them in `args`, urllib3 in `reason`."""
    found: list[BaseException] = []
    following: list[object] = [error]
    while following:
        cause = following.pop()
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            following += [*cause.args, getattr(cause, "reason", None)]
    return found
