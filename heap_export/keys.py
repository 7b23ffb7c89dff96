"""Who may send: keys and signing secrets, several at a time so that they can be changed without losing an event."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from foundation.errors import BadRequestError, ConfigurationError, ForbiddenError
from foundation.secrets import read_or_create_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heap_export.settings import HeapExportSettings

SIGNATURE = "X-Signature"
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


def check_signature(signature: str | None, body: bytes, secrets: Sequence[str]) -> None:
    """`signature`: the header, `sha256=<hex HMAC-SHA256 of the body>`. Without `secrets` none is wanted.

    Raises `BadRequestError` for another form and `ForbiddenError` where no secret gives it.
    """
    if not secrets:
        return
    if signature is None:
        raise BadRequestError(f"{SIGNATURE}: the header is missing", reason="missing_signature")
    form, _, claimed = signature.strip().partition("=")
    if form != "sha256":
        raise BadRequestError(f"{SIGNATURE}: expected sha256=<hex>", reason="malformed_signature")
    if not is_signed(claimed, body, secrets):
        raise ForbiddenError("Invalid signature", reason="bad_signature")


def is_signed(claimed: str, message: bytes, secrets: Sequence[str]) -> bool:
    """Whether one of `secrets` gives this HMAC-SHA256 (hex) of `message`."""
    given = claimed.strip().lower().encode()
    # Every secret is tried, so that the time taken tells nothing about which one fits.
    fits = [hmac.compare_digest(sign(message, secret).encode(), given) for secret in secrets]
    return True in fits


def sign(message: bytes, secret: str) -> str:
    """HMAC-SHA256, in hex."""
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
