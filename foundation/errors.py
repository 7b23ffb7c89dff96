"""The one tree of exceptions. Each carries the status that HTTP answers and the reason that metrics count."""

from __future__ import annotations


class CohortGatewayError(Exception):
    """The root: `status` is the HTTP status, `reason` a short metric label; the message is for people."""

    status = 500
    reason = "internal"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class BadRequestError(CohortGatewayError):
    status = 400
    reason = "bad_request"


class UnauthorizedError(CohortGatewayError):
    status = 401
    reason = "unauthorized"


class ForbiddenError(CohortGatewayError):
    status = 403
    reason = "forbidden"


class NotFoundError(CohortGatewayError):
    status = 404
    reason = "not_found"


class ActionNotAllowedError(CohortGatewayError):
    """An action that this service does not know (Heap's reference answers 405 to an unknown `action_type`)."""

    status = 405
    reason = "unknown_action"


class TooSlowError(CohortGatewayError):
    """The sender took too long over its request. Its connection is closed."""

    status = 408
    reason = "too_slow"


class ConflictError(CohortGatewayError):
    status = 409
    reason = "conflict"


class TooLargeError(CohortGatewayError):
    status = 413
    reason = "too_large"


class NoAnswerError(CohortGatewayError):
    """A server of others gave no answer, or one beyond the bounds of `foundation.http_client`. It names no address."""

    status = 502
    reason = "unreachable"


class UnsupportedEncodingError(CohortGatewayError):
    """A body that is packed with something that is not read here."""

    status = 415
    reason = "unsupported_encoding"


class UnavailableError(CohortGatewayError):
    """Come back later: the store is away or there is no room. Answered with `Retry-After`."""

    status = 503
    reason = "unavailable"


class ConfigurationError(CohortGatewayError):
    """Something that the operator must mend before a program can start. Programs print it and exit with 2."""

    reason = "configuration"
