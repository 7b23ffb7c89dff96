"""The one tree of exceptions. A message names the field and says how to mend it; it never holds a user's data."""

from __future__ import annotations


class FmeClientError(Exception):
    """The root of all that this package raises."""


class OptionError(FmeClientError, ValueError):
    """An option of `init` is missing, unknown or wrong."""


class ContextError(FmeClientError, ValueError):
    """A context, or another argument of a call, is wrong. Calls log it and answer their default."""


class NetworkError(FmeClientError):
    """A request got no usable answer. `kind` is a short word that logs and counters use; calls never raise it."""

    def __init__(self, kind: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
