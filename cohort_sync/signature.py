"""Heap's signature: `Heap-Hash: ts:<unix milliseconds>,hmac:<base64>` over the timestamp's text and the raw body.

The header's form and the message are from Heap's reference code.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from typing import TYPE_CHECKING

from foundation.errors import BadRequestError, ForbiddenError

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = "Heap-Hash"
AHEAD_SECONDS = 60
REFUSED_FOR_THEIR_TIME = frozenset(("stale_timestamp", "future_timestamp"))  # reasons, of pushes rightly signed

_FORM = re.compile(rb"\s*ts:(\d{1,15})\s*,\s*hmac:([^\s,]{1,256})\s*")


class SignatureCheck:
    """Checks one request. The body is fed as it arrives, so that no large body is hashed in one go."""

    def __init__(self, header: bytes | None, secrets: Sequence[bytes]) -> None:
        """Raises `BadRequestError` when the header is missing or has another form."""
        if header is None:
            raise BadRequestError(f"{HEADER}: the header is missing", reason="missing_signature")
        match = _FORM.fullmatch(header)
        if match is None:
            raise BadRequestError(
                f"{HEADER}: expected ts:<unix milliseconds>,hmac:<base64>", reason="malformed_signature"
            )
        timestamp, self._claimed = match.groups()
        self.signed_at = int(timestamp)
        self._macs = [hmac.new(secret, timestamp, hashlib.sha256) for secret in secrets]

    def feed(self, chunk: bytes) -> None:
        for mac in self._macs:
            mac.update(chunk)

    def verify(self, *, tolerance: float) -> None:
        """Raises `ForbiddenError` when no secret gives this signature, or the push is too old (seconds) or too new."""
        try:
            claimed = base64.b64decode(self._claimed, validate=True)
        except binascii.Error:
            claimed = b""
        # Every secret is tried, so that the time taken tells nothing about which one fits.
        matches = [hmac.compare_digest(mac.digest(), claimed) for mac in self._macs]
        if True not in matches:
            raise ForbiddenError("Invalid signature", reason="bad_signature")
        age = time.time() - self.signed_at / 1000
        if age > tolerance:
            raise ForbiddenError(
                "Invalid signature: its timestamp is too old (HEAP_TIMESTAMP_TOLERANCE)", reason="stale_timestamp"
            )
        if age < -AHEAD_SECONDS:
            raise ForbiddenError(
                "Invalid signature: its timestamp lies ahead; check this machine's clock", reason="future_timestamp"
            )


def sign(secret: str, body: bytes, *, timestamp_ms: int) -> str:
    """The header that Heap would send with `body`."""
    mac = hmac.new(secret.encode(), str(timestamp_ms).encode() + body, hashlib.sha256)
    return f"ts:{timestamp_ms},hmac:{base64.b64encode(mac.digest()).decode()}"
