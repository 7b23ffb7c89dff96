"""Secrets at rest: sealed texts that only this installation opens, and keyed tags that stand for texts."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from foundation.secrets import read_or_create_secret

if TYPE_CHECKING:
    from pathlib import Path

_FORM = "v1."
_NONCE_BYTES = 12


class UnsealError(Exception):
    """A sealed text that can't be opened: another key made it, for another purpose, or it was altered."""


class Sealer:
    """Seals with AES-256-GCM. `secret` is any text of high entropy; the keys are derived from it, one a use."""

    def __init__(self, secret: str) -> None:
        self._cipher = AESGCM(_derived(secret, b"cohort-gateway seal"))
        self._tag_key = _derived(secret, b"cohort-gateway tag")
        self.key_id = self.tag("key", "")[:16]
        """Tells keys apart and tells nothing about them."""

    def seal(self, text: str, *, purpose: str) -> str:
        """ASCII text; two seals of one text differ. `purpose` must be the same when it is opened."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), purpose.encode())
        return _FORM + base64.urlsafe_b64encode(nonce + sealed).decode()

    def unseal(self, sealed: str, *, purpose: str) -> str:
        """Raises `UnsealError`."""
        try:
            raw = base64.urlsafe_b64decode(sealed.removeprefix(_FORM))
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], purpose.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError):
            raise UnsealError("not sealed with this key for this purpose") from None

    def tag(self, purpose: str, text: str) -> str:
        """64 hexadecimal digits, equal for equal texts, that nobody without the key can compute or check."""
        message = f"{purpose}\0{text}".encode("utf-8", "surrogatepass")  # JSON may bring lone surrogates
        return hmac.new(self._tag_key, message, hashlib.sha256).hexdigest()


def open_sealer(data_dir: Path) -> Sealer:
    """The sealer of this installation; its key is made at the first call. Raises `ConfigurationError`."""
    return Sealer(read_or_create_secret(data_dir / "sealing_key"))


def _derived(secret: str, use: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=use).derive(secret.encode())
