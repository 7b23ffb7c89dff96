"""Aliases of users: the id that somebody had before they logged in, say, stands for the user's own from then on.

They are in Redis, in two hashes: `new`, and the `old` one that it takes the place of when it holds half of what may be
kept. Who is asked for again moves to the new one, so those that nobody asked for longest go first.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import APIRouter, Request, Response

from attribute_lists.hash_lookups import HashLookups
from attribute_lists.names import is_account
from attribute_lists.replies import state_of
from attribute_lists.states import State
from foundation.errors import BadRequestError
from foundation.json import no_json, utf8
from foundation.query_bound import whole_query
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from foundation.tasks import Tasks
from gateway.decisions_description import error_responses
from gateway.readings import read_ids

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from attribute_lists.lines import Lines
    from foundation.request_bodies import BodyReader
    from gateway.flag_settings import ServedSettings
    from gateway.known_accounts import KnownAccounts
    from gateway.lookup_health import Note
    from gateway.metrics import Metrics
    from gateway.visitors import Visitors

log = logging.getLogger(__name__)

_LONGEST_ID = 1024  # characters
_MOST_ASKED = 100  # ids in one request
_BEHIND_AN_ID = re.compile(rb"&aliasId=")
_AT_ONCE = 500  # aliases looked at in one go, so that no check waits behind it

# Hashes "account:alias" -> user id, UTF-8. They don't begin like the keys of lists, whose every change is told around.
_KEYS = ("cg:aliases:{all}:new", "cg:aliases:{all}:old")

# KEYS new, old; ARGV aliases that `new` may hold, then those of the script. UNLINK frees memory in the background.
_PUT = """
local gone = 0
local function put(alias, user)
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[1]) and redis.call('HEXISTS', KEYS[1], alias) == 0 then
    gone = gone + redis.call('HLEN', KEYS[2])
    redis.call('UNLINK', KEYS[2])
    redis.call('RENAME', KEYS[1], KEYS[2])
  end
  redis.call('HSET', KEYS[1], alias, user)
end
"""

# Alias and user.
_SET = f"""{_PUT}
put(ARGV[2], ARGV[3])
return gone
"""

# Aliases, of which those that are in `old` alone are put into `new`, too.
_KEEP = f"""{_PUT}
local users = redis.call('HMGET', KEYS[2], unpack(ARGV, 2))
for i = 2, #ARGV do
  local user = users[i - 1]
  if user and redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then put(ARGV[i], user) end
end
return gone
"""


class Aliases:
    """The one that reads and writes them, over the connections of the checks, since getFlag waits for the answer.

    `remember`: how many are kept, of all accounts together. `note` is told of how many questions and answers (`what`:
    `user_alias`, `set_user_alias`) went well, or why not.
    """

    def __init__(self, lines: Lines, metrics: Metrics, note: Note, *, remember: int) -> None:
        self._lines = lines
        self._lookups = HashLookups(lines, *_KEYS, note=functools.partial(note, "user_alias"))
        self._note = note
        self._half = (remember + 1) // 2
        self._forgotten = metrics.aliases_forgotten
        self._keeping = Tasks(lambda error: log.debug("an alias is not kept for longer: %s", explain(error)))

    async def put(self, account: str, alias: str, user: str) -> bool:
        """Let `alias` stand for `user`; whether that is kept. It raises nothing for a sick store."""
        if not self._half:
            return False
        try:
            await self._run(self._sent(_SET, f"{account}:{alias}", user))
        except STORE_ERRORS as error:
            self._note("set_user_alias", state_of(error), 1)
            return False
        self._note("set_user_alias", None, 1)
        return True

    async def users_of(self, account: str, aliases: Sequence[str]) -> list[str]:
        """The user behind each alias; itself, where it is none, or where the store can't tell in time."""
        if not self._half:
            return list(aliases)
        lookups = {alias: self._lookups.get(f"{account}:{alias}") for alias in aliases}
        await asyncio.wait(set(lookups.values()))
        users: dict[str, str] = {}
        old = []
        for alias, lookup in lookups.items():
            found = lookup.result()
            if isinstance(found, State):
                continue
            newer, older = found
            user = older if newer is None else newer
            if user is not None:
                users[alias] = user.decode()
                if newer is None:
                    old.append(f"{account}:{alias}")
        if old:
            self._keeping.begin(self._run(self._sent(_KEEP, *old)))
        return [users.get(alias, alias) for alias in aliases]

    async def aclose(self) -> None:
        await self._keeping.end()
        await self._lookups.aclose()

    async def _run(self, reply: Awaitable[int]) -> None:
        if gone := await reply:
            self._forgotten.inc(gone)
            log.warning("%d aliases were forgotten to make room; ALIASES_REMEMBERED makes more", gone)

    def _sent(self, script: str, *arguments: str) -> Awaitable[int]:
        keys = str(len(_KEYS)), *_KEYS
        return self._lines.execute(_KEYS[0], "EVAL", script, *keys, str(self._half), *arguments)


async def forget_aliases(store: Any, person: str) -> int:
    """Remove every alias that is `person` or stands for them, of any account; how many. Raises the store's errors."""
    removed = 0
    for key in _KEYS:
        gone = []
        async for name, user in store.hscan_iter(key, count=_AT_ONCE):
            if person in (name.decode().partition(":")[2], user.decode()):
                gone.append(name)
        for start in range(0, len(gone), _AT_ONCE):
            removed += await store.hdel(key, *gone[start : start + _AT_ONCE])
    return removed


class _SetAlias(msgspec.Struct, rename="camel"):
    user_id: str | int | None = None
    alias_id: str | int | None = None


def aliases_router(
    aliases: Aliases,
    served: ServedSettings,
    accounts: KnownAccounts,
    visitors: Visitors,
    bodies: BodyReader,
    *,
    default_account: str | None,
) -> APIRouter:
    """`visitors` learns of the users, whom an SDK with aliases asks about before each of its decisions.

    An account that is not among `accounts` has no aliases, and gets none.
    """
    router = APIRouter()

    def account_of(account: str | None, sdk_key: str | None) -> str:
        found = account or served.account_of(sdk_key) or default_account or served.account or ""
        if not is_account(found):
            raise BadRequestError("accountId: give the id of a VWO account", reason="no_account")
        return found

    async def set_user_alias(request: Request) -> Response:
        given = await _given(request, bodies)
        query = whole_query(request.scope)
        user = _id(query, "userId", given.user_id)
        alias = _id(query, "aliasId", given.alias_id)
        if user == alias:
            raise BadRequestError("aliasId: it is the userId; give another id of the same user", reason="bad_request")
        account = account_of(*_whose(query))
        if not await accounts.has(account):
            return _json({"isAliasSet": False})
        visitors.learn(account, user)
        return _json({"isAliasSet": await aliases.put(account, alias, user)})

    async def get_alias_user_id(request: Request) -> Response:
        asked, asked_account, sdk_key, is_cut = read_ids(whole_query(request.scope))
        if not asked or len(asked) > _MOST_ASKED:
            raise BadRequestError(f"userId: give 1 to {_MOST_ASKED} ids", reason="bad_request")
        account = account_of(asked_account, sdk_key)
        asked = [[text for text in readings if _is_id(text)] for readings in asked]
        if not all(asked):
            raise _no_id("userId")
        texts = [text for readings in asked for text in readings]
        is_known = await accounts.has(account)
        users = await aliases.users_of(account, texts) if is_known else texts
        user_of = dict(zip(texts, users, strict=True))
        # An SDK looks for its own id in the answer, so what comes back is the reading that is known here, if one is.
        known = [next((text for text in readings if user_of[text] != text), readings[0]) for readings in asked]
        for alias in known if is_known and not is_cut else ():  # the start of an id is nobody
            visitors.learn(account, user_of[alias])
        return _json([{"aliasId": alias, "userId": user_of[alias]} for alias in known])

    router.add_api_route(
        "/user-alias/setUserAlias",
        set_user_alias,
        methods=["POST"],
        summary="Let an alias stand for a user",
        response_model=None,
        openapi_extra={"parameters": _parameters("userId", "aliasId"), "requestBody": _BODY},
        responses=_REFUSED | error_responses({408: "the body takes too long", 503: "no room for the body"}),
    )
    router.add_api_route(
        "/user-alias/getAliasUserId",
        get_alias_user_id,
        methods=["GET"],
        summary="The user behind an alias; the alias itself where there is none",
        response_model=None,
        openapi_extra={"parameters": _parameters("userId")},
        responses=_REFUSED,
    )
    return router


async def _given(request: Request, bodies: BodyReader) -> _SetAlias:
    """The body, whatever its content type says; nothing where there is none, since the query may say it all."""
    try:
        with bodies.body_of(request) as body:
            content = await body.content()
            return msgspec.json.decode(utf8(content), type=_SetAlias) if content else _SetAlias()
    except (ValueError, RecursionError) as error:
        raise BadRequestError(
            f'the body is {no_json(error)}; send {{"userId": "user1", "aliasId": "tmp1"}}', reason="bad_json"
        ) from error


def _id(query: bytes, name: str, given: str | int | None) -> str:
    """The id in the body, else in the query, where another parameter may follow it."""
    if given is not None:
        return _checked(name, str(given))
    asked = read_ids(_BEHIND_AN_ID.split(query, maxsplit=1)[0] if name == "userId" else query, name.encode()).ids
    return _checked(name, asked[0][0] if asked else "")


def _whose(query: bytes) -> tuple[str | None, str | None]:
    """What names the account: in front of the ids, between them or behind; in an id it is a part of the id."""
    asked = [read_ids(query, name) for name in (b"userId", b"aliasId")]
    account = next((one.account for one in asked if one.account), None)
    return account, next((one.sdk_key for one in asked if one.sdk_key), None)


def _checked(name: str, text: str) -> str:
    if not _is_id(text):
        raise _no_id(name)
    return text


def _no_id(name: str) -> BadRequestError:
    return BadRequestError(f"{name}: give an id, {_LONGEST_ID} characters at the most", reason="bad_request")


def _is_id(text: str) -> bool:
    return bool(text) and len(text) <= _LONGEST_ID and _is_utf8(text)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _parameters(*names: str) -> list[dict[str, Any]]:
    described = {
        "accountId": "default: the account of `sdkKey`, or ours",
        "sdkKey": "names the account where `accountId` does not",
        "userId": "id of the user; where an alias is looked up: the alias, or a JSON list of them",
        "aliasId": "the alias",
    }
    return [
        {"name": name, "in": "query", "description": described[name], "schema": {"type": "string"}}
        for name in ("accountId", "sdkKey", *names)
    ]


_REFUSED = error_responses({400: "a field is missing or wrong, and the answer names it"})
_BODY = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"userId": {"type": "string"}, "aliasId": {"type": "string"}},
            }
        }
    }
}
