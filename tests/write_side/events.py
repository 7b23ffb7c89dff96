"""Events of a random history: what may happen to a list.

Times: a history has epochs, which the operator's commands part. Those of the first epoch lie in the past, hours apart
where a task id begins anew; those of a later one begin at the moment at which the command before it was answered. A
page belongs to one epoch, though it may arrive in any later one and be signed anew once it is known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tests.write_side.model import HOUR_MS

if TYPE_CHECKING:
    from tests.write_side.model import Mode, Page

MOMENTS = 12  # milliseconds that an epoch, or one run of a task id, has for its pages
RUN_MS = 2 * HOUR_MS
MOST_RUNS = 4

Damage = Literal["flushall", "members", "about", "registry", "receiver", "store"]


@dataclass(frozen=True)
class Moment:
    """When something was signed: `offset` milliseconds into an epoch. Pages have even ones, drains odd ones."""

    epoch: int
    offset: int


@dataclass(frozen=True)
class Deliver:
    page: Page
    signed: Moment


@dataclass(frozen=True)
class Together:
    """Pages that arrive at the same time, some perhaps twice."""

    deliveries: tuple[Deliver, ...]


@dataclass(frozen=True)
class SenderDrains:
    signed: Moment


@dataclass(frozen=True)
class SetMode:
    mode: Mode


@dataclass(frozen=True)
class SetActive:
    is_active: bool


@dataclass(frozen=True)
class SetAliases:
    """`names`: numbers of aliases, made the history's own where it is played; `own`: the segment's id is kept."""

    names: frozenset[int]
    own: bool


@dataclass(frozen=True)
class Accept:
    pass


@dataclass(frozen=True)
class Drain:
    pass


@dataclass(frozen=True)
class Delete:
    pass


@dataclass(frozen=True)
class Erase:
    person: str


@dataclass(frozen=True)
class Break:
    what: Damage


Event = Deliver | Together | SenderDrains | SetMode | SetActive | SetAliases | Accept | Drain | Delete | Erase | Break
BEGINS_EPOCH = (Drain, Delete, Erase)


def end_of_epoch(epoch: int) -> int:
    """An offset behind everything that is signed in the epoch."""
    return (MOST_RUNS * RUN_MS if epoch == 0 else 0) + MOMENTS + 2


def person(number: int) -> str:
    return f"person-{number}"


def with_people(page: Page, prefix: str) -> Page:
    """The same page of people who are this history's alone."""
    add, remove = (frozenset(prefix + name for name in names) for names in (page.add, page.remove))
    return replace(page, add=add, remove=remove)
