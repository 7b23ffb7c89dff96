"""Users with several ids: the gateway keeps which id stands for which user."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING

from fme_client.breaker import Breaker
from fme_client.contexts import read_id
from fme_client.errors import ContextError, NetworkError
from fme_client.transport import Request

if TYPE_CHECKING:
    from fme_client.options import Options
    from fme_client.transport import Transport

SET_SECONDS = 10.0
_OK = 200


class Aliases:
    def __init__(self, transport: Transport, options: Options) -> None:
        self._transport = transport
        self._who = {"accountId": options.account_id, "sdkKey": options.sdk_key}
        self._reading, self._writing = Breaker(), Breaker()

    def user_of(self, user_id: str, deadline: float) -> str:
        """The user whose alias `user_id` is; `user_id` where it is nobody's. Raises `NetworkError`."""
        parameters = {**self._who, "userId": json.dumps([user_id], ensure_ascii=False)}
        request = Request("/user-alias/getAliasUserId", parameters)
        answer = self._reading.call(partial(self._transport.fetch, request, deadline))
        pairs = answer.json() if answer.status == _OK else None
        if not isinstance(pairs, list):
            raise NetworkError("alias", "the gateway does not tell aliases")
        found = (pair.get("userId") for pair in pairs if isinstance(pair, dict) and pair.get("aliasId") == user_id)
        try:
            return read_id(next(found, None) or user_id)
        except ContextError:
            raise NetworkError("alias", "the gateway tells an alias of somebody who has no id") from None

    def set(self, user_id: str, alias_id: str) -> None:
        """From now on `alias_id` stands for `user_id`. Raises `NetworkError`, and `ContextError` where both are one."""
        if user_id == alias_id:
            raise ContextError("alias_id must differ from the user's id")
        pair = {"userId": user_id, "aliasId": alias_id}
        request = Request("/user-alias/setUserAlias", {**self._who, **pair}, json.dumps(pair).encode())
        answer = self._writing.call(partial(self._transport.fetch, request, time.monotonic() + SET_SECONDS))
        if answer.status != _OK:
            raise NetworkError("alias", f"the gateway answered {answer.status} to a new alias", status=answer.status)
