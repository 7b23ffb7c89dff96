"""Which accounts and SDK keys the gateway serves: one from the environment, more from a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from attribute_lists.names import is_account
from foundation.errors import ConfigurationError
from foundation.json import utf8

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_SDK_KEY = re.compile(r"[!-~]{1,256}")
_NO_KEY = "no SDK key is like this; copy it from the environment's page in VWO (no blanks, 256 characters at the most)"
_SHAPE = 'it looks like {"accounts": [{"accountId": "123456", "sdkKeys": ["<key of an environment>"], "open": false}]}'


@dataclass(frozen=True, slots=True)
class Account:
    """One account of VWO. Of an open one, SDK keys that are not among `sdk_keys` are asked for at VWO, too."""

    id: str
    sdk_keys: tuple[str, ...]
    is_open: bool = False


class _Entry(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    account_id: int | str
    sdk_keys: list[str] = []
    open: bool = False


class _File(msgspec.Struct, forbid_unknown_fields=True):
    accounts: list[_Entry]


def configured_accounts(account_id: str | None, sdk_key: str | None, accounts_file: Path | None) -> list[Account]:
    """Those of `ACCOUNT_ID` and `SDK_KEY`, and of `ACCOUNTS_FILE`. Raises `ConfigurationError`."""
    found = [] if accounts_file is None else read_accounts(accounts_file)
    if sdk_key is not None:
        if account_id is None:
            raise ConfigurationError("SDK_KEY: set ACCOUNT_ID too, the number of the VWO account that it belongs to")
        if not is_sdk_key(sdk_key):
            raise ConfigurationError(f"SDK_KEY: {_NO_KEY}")
        found = _with_key(found, account_id, sdk_key)
    _check_owners(found)
    return found


def read_accounts(path: Path) -> list[Account]:
    """The accounts of a file. Raises `ConfigurationError` that names it, the field and the way to mend it."""
    try:
        entries = msgspec.json.decode(utf8(path.read_bytes()), type=_File).accounts
    except OSError as error:
        raise _bad(path, f"can't be read: {error.strerror or error}; name a file that this user may read") from error
    except (ValueError, RecursionError) as error:
        raise _bad(path, f"can't be used: {error}; {_SHAPE}") from error
    if not entries:
        raise _bad(path, f"`accounts` is empty; {_SHAPE}")
    accounts = [_account(path, f"accounts[{place}]", entry) for place, entry in enumerate(entries)]
    ids = [account.id for account in accounts]
    for place, account in enumerate(accounts):
        if account.id in ids[:place]:
            raise _bad(path, f"`accounts[{place}].accountId` is there twice; put its SDK keys into one entry")
    return accounts


def is_sdk_key(text: str) -> bool:
    """Whether `text` may be an SDK key: visible ASCII characters, 256 at the most."""
    return _SDK_KEY.fullmatch(text) is not None


def _account(path: Path, field: str, entry: _Entry) -> Account:
    account = str(entry.account_id)
    if not is_account(account):
        raise _bad(path, f"`{field}.accountId` is no account id; put the number of the VWO account there")
    for place, key in enumerate(entry.sdk_keys):
        if not is_sdk_key(key):  # which is not shown: it may be a secret of something else
            raise _bad(path, f"`{field}.sdkKeys[{place}]`: {_NO_KEY}")
    if not entry.sdk_keys and not entry.open:
        raise _bad(path, f"`{field}.sdkKeys` is empty; name the account's SDK keys, or set `open` to true")
    return Account(account, tuple(dict.fromkeys(entry.sdk_keys)), entry.open)


def _with_key(accounts: Iterable[Account], account_id: str, sdk_key: str) -> list[Account]:
    others = {account.id: account for account in accounts}
    known = others.get(account_id, Account(account_id, ()))
    keys = tuple(dict.fromkeys((sdk_key, *known.sdk_keys)))
    return list((others | {account_id: Account(account_id, keys, known.is_open)}).values())


def _check_owners(accounts: Iterable[Account]) -> None:
    owners: dict[str, str] = {}
    for account in accounts:
        for key in account.sdk_keys:
            if owners.setdefault(key, account.id) != account.id:
                raise ConfigurationError(
                    f"ACCOUNTS_FILE: accounts {owners[key]} and {account.id} name the same SDK key; "
                    "an SDK key belongs to one account: take it out of the other's `sdkKeys`"
                )


def _bad(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(f"ACCOUNTS_FILE: {path}: {problem}")
