"""Whom an event of VWO is about."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_stream.stream import Record

_VWO = uuid5(NAMESPACE_URL, "https://vwo.com")


def names_person(person: str) -> Callable[[Record], bool]:
    """Whether an event, whose `to` begins with its account, is about the user with the id `person`.

    By the visitor id, or by the person's own id as a text anywhere in it.
    """
    texts = {json.dumps(person).encode(), json.dumps(person, ensure_ascii=False).encode("utf-8", "surrogatepass")}

    @functools.cache
    def visitor(account: str) -> bytes:
        return uuid5(uuid5(_VWO, account), person).hex.upper().encode()

    def is_theirs(record: Record) -> bool:
        account = record.to.partition("/")[0]
        return visitor(account) in record.body or any(text in record.body for text in texts)

    return is_theirs
