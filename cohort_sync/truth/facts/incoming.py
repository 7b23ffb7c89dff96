"""What may become a fact: pages and drains, checked the same way whoever brings them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from attribute_lists.names import checked_account
from foundation.errors import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attribute_lists.bodies import Names
    from cohort_sync.truth.order import Mode

LONGEST_ID = 256  # characters of a segment id, a task's name, a page's name
LONGEST_NAME = 64 * 1024  # characters of a segment's name
LONGEST_MEMBER = 1024  # bytes
MOST_PAGES = 1_000_000
_LATEST = 1 << 53  # milliseconds: what JSON holds exactly


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a sender, which one list belongs to for good. Its id may be any text; its name is a label."""

    account: str
    source: str
    id: str
    name: str = ""

    def __post_init__(self) -> None:
        checked_account(self.account)
        _check_text(self.source, "source", longest=LONGEST_ID)
        _check_text(self.id, "segment id", longest=LONGEST_ID)
        _check_text(self.name, "segment name", longest=LONGEST_NAME, least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a task. `digest` stands for its body as it came.

    `task`: None where the sender names none, so that each push is a task of its own. `name`: the sender's own name of
    this page, by which it is known again. `signed_at`: Unix milliseconds on the sender's clock; None where it tells no
    time. `mode`: the sender's word; None: that of the list when the task began. `skipped`: what could be no member.
    """

    segment: Segment
    names: Names
    digest: bytes
    task: str | None = None
    name: str | None = None
    number: int = 1
    total: int = 1
    signed_at: int | None = None
    mode: Mode | None = None
    skipped: int = 0

    def __post_init__(self) -> None:
        for text, field in ((self.task, "task"), (self.name, "page name")):
            if text is not None:
                _check_text(text, field, longest=LONGEST_ID)
        for count, field in ((self.number, "page number"), (self.total, "total pages")):
            if not 1 <= count <= MOST_PAGES:
                raise BadRequestError(f"{field}: a whole number from 1 to {MOST_PAGES}", reason="bad_shape")
        if self.signed_at is not None:
            _check_time(self.signed_at)
        if not self.digest:
            raise BadRequestError("digest: missing", reason="bad_shape")


@dataclass(frozen=True, slots=True)
class Drain:
    """A sender empties a segment, as of `signed_at`, which is also what the drain is known by."""

    segment: Segment
    signed_at: int

    def __post_init__(self) -> None:
        _check_time(self.signed_at)


def check_members(members: Sequence[bytes]) -> None:
    """Raises `BadRequestError` where one is empty or too long."""
    lengths = set(map(len, members))
    if lengths and not (min(lengths) > 0 and max(lengths) <= LONGEST_MEMBER):
        raise BadRequestError(f"members: 1 to {LONGEST_MEMBER} bytes each", reason="bad_member")


def _check_text(text: str, field: str, *, longest: int, least: int = 1) -> None:
    if not least <= len(text) <= longest:
        raise BadRequestError(f"{field}: {least} to {longest} characters", reason="bad_shape")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequestError(f"{field}: half a surrogate pair is no text", reason="bad_shape") from None


def _check_time(milliseconds: int) -> None:
    if not 0 <= milliseconds < _LATEST:
        raise BadRequestError("signed time: Unix milliseconds", reason="bad_shape")
