"""Who may send: keys and signing secrets, several at a time so that they can be changed without losing an event."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from foundation.errors import BadRequestError, ConfigurationError, ForbiddenError
from foundation.secrets import read_or_create_secret

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from heap_export.settings import HeapExportSettings

SIGNATURE = "X-Signature"
_HASHED_AT_ONCE = 64 * 1024  # bytes
WHERE = "send Authorization: Bearer <EVENTS_API_KEY>; where it is unset the key is in DATA_DIR/events_api_key"


def several(value: str, setting: str) -> list[str]:
    """The secrets that `value` holds, commas between them. Raises `ConfigurationError` naming `setting`."""
    found = [secret.strip() for secret in value.split(",") if secret.strip()]
    if not found:
        raise ConfigurationError(f"{setting}: holds no secret; unset it, or give one")
    return found


def api_keys(settings: HeapExportSettings) -> list[str]:
    """The bearer keys of `/v1/events` and `/v1/exposures`. Raises `ConfigurationError`."""
    if settings.events_api_key is None:
        return [read_or_create_secret(settings.data_dir / "events_api_key")]
    return several(settings.events_api_key, "EVENTS_API_KEY")


def check_signature(signature: str | None, body: bytes, secrets: Sequence[str]) -> Generator[None, None, None]:
    """`signature`: the header, `sha256=<hex HMAC-SHA256 of the body>`. Without `secrets` none is wanted.

    In short steps. Raises `BadRequestError` for another form and `ForbiddenError` where no secret gives it.
    """
    if not secrets:
        return
    if signature is None:
        raise BadRequestError(f"{SIGNATURE}: the header is missing", reason="missing_signature")
    form, _, claimed = signature.strip().partition("=")
    if form != "sha256":
        raise BadRequestError(f"{SIGNATURE}: expected sha256=<hex>", reason="malformed_signature")
    if not (yield from is_signed(claimed, b"", body, secrets)):
        raise ForbiddenError("Invalid signature", reason="bad_signature")


def is_signed(claimed: str, start: bytes, body: bytes, secrets: Sequence[str]) -> Generator[None, None, bool]:
    """Whether one of `secrets` gives this HMAC-SHA256 (hex) of `start` and `body`; in short steps."""
    macs = [hmac.new(secret.encode(), start, hashlib.sha256) for secret in secrets]
    for at in range(0, len(body), _HASHED_AT_ONCE):
        for mac in macs:
            mac.update(memoryview(body)[at : at + _HASHED_AT_ONCE])
        yield
    given = claimed.strip().lower().encode()
    # Every secret is tried, so that the time taken tells nothing about which one fits.
    fits = [hmac.compare_digest(mac.hexdigest().encode(), given) for mac in macs]
    return True in fits
