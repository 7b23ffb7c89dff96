"""Secrets that an installation makes for itself: files under `DATA_DIR`, readable by their owner alone."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from foundation.errors import ConfigurationError
from foundation.json import utf8

if TYPE_CHECKING:
    from pathlib import Path


def read_or_create_secret(path: Path) -> str:
    """The secret in `path`; made (32 random bytes, URL-safe text, mode 0600) when there is none.

    Several processes may call this at the same time: all get the same secret, since the file appears whole
    (written aside, then linked) or not at all.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
        return _read(path)
    except OSError as error:
        raise ConfigurationError(
            f"can't write {path}: {error.strerror}; make DATA_DIR writable for this user, or set the secret itself"
        ) from error


def _read(path: Path) -> str:
    try:
        secret = utf8(path.read_bytes()).decode().strip()
    except ValueError:
        raise ConfigurationError(f"{path} is no UTF-8; save it as UTF-8") from None
    if not secret:
        raise ConfigurationError(f"{path} is empty: delete it, and a new secret is made at the next start")
    return secret
