"""Who may use what is for operators: those who send the token."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from fastapi import Request  # noqa: TC002 - FastAPI reads the types of a dependency

from foundation.errors import UnauthorizedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WHERE = "send Authorization: Bearer <ADMIN_TOKEN>; it is in DATA_DIR/admin_token"


def token_wanted(token: Callable[[], str]) -> Any:
    """A dependency that refuses calls without `Authorization: Bearer <token>`; what `token` raises is the answer."""
    return one_wanted(lambda: [token()], where=WHERE)


def one_wanted(tokens: Callable[[], Sequence[str]], *, where: str) -> Any:
    """As `token_wanted`, with any one of several tokens. `where`: what to send, for who sent something else."""

    async def check(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Bytes, since compare_digest refuses text beyond ASCII. All are tried, so that the time tells nothing.
        fits = [hmac.compare_digest(given.strip().encode(), token.encode()) for token in tokens()]
        if scheme.lower() != "bearer" or True not in fits:
            raise UnauthorizedError(where)

    return check
