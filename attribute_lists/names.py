"""What lists are called: account ids, list ids, aliases, and the id that a segment's name gives."""

from __future__ import annotations

import re
import unicodedata

from foundation.errors import BadRequestError

_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LIST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
_LONGEST_SLUG = 200


def is_account(text: str) -> bool:
    return _ACCOUNT.fullmatch(text) is not None


def is_list_id(text: str) -> bool:
    """Whether `text` may name a list. `:` is allowed: VWO gives ids such as `67c858b8b8556:1741183160`."""
    return _LIST_ID.fullmatch(text) is not None


def checked_account(text: str) -> str:
    """`text`, once it is known to be an account id. Raises `BadRequestError`."""
    if not is_account(text):
        raise BadRequestError("account: letters, digits, _ and - only, 1 to 64 of them", reason="bad_account")
    return text


def checked_list_id(text: str, *, field: str = "list") -> str:
    """`text`, once it is known to be fit for a list id or an alias. Raises `BadRequestError` naming `field`."""
    if not is_list_id(text):
        raise BadRequestError(
            f"{field}: letters, digits and the characters _ . : - only, 1 to 256 of them", reason="bad_list_id"
        )
    return text


def list_id_candidates(segment_id: str, segment_name: str) -> list[str]:
    """The ids that a new segment's list may get, the first free one wins.

    `heap_` and the slug of the name (accents stripped, lower case, each run of other characters than `[a-z0-9]`
    one `_`, trimmed); where nothing is left of the name, `heap_<segment id>`; on a clash the segment id is appended.
    """
    plain = unicodedata.normalize("NFKD", segment_name)
    plain = "".join(char for char in plain if not unicodedata.combining(char)).lower()
    slug = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:_LONGEST_SLUG].rstrip("_")
    safe_id = re.sub(r"[^A-Za-z0-9_.:-]+", "_", segment_id)
    if not slug:
        return [f"heap_{safe_id}"]
    return [f"heap_{slug}", f"heap_{slug}_{safe_id}"]
