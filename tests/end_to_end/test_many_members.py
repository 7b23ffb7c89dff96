"""A segment of 100,000 people, in pages of 10,000 as Heap may send them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.installation import ACCOUNT, LIST
from tests.end_to_end.many_checks import ask_all

if TYPE_CHECKING:
    from tests.end_to_end.installation import Installation

MEMBERS = 100_000
PAGE = 10_000
_NAMESPACE = uuid.UUID("67c858b8-b855-4174-9163-d761d2da5534")


# Two gateways, as behind a load balancer; on two cores they answer nearly twice as fast.
@pytest.mark.parametrize("installation", [2], indirect=True)
async def test_every_member_of_a_large_segment_is_in_it_and_nobody_else(installation: Installation) -> None:
    people = [str(uuid.uuid5(_NAMESPACE, str(number))) for number in range(2 * MEMBERS)]
    members, others = people[:MEMBERS], people[MEMBERS:]
    pages = MEMBERS // PAGE
    for page in range(pages):
        part = members[page * PAGE : (page + 1) * PAGE]
        installation.push(add=part, task="large-segment", page=page + 1, pages=pages)

    question = f"/check-attribute?listId={LIST}&accountId={ACCOUNT}&attribute="
    assert await ask_all(installation.gateways, question, members) == {("true", "in"): MEMBERS}
    assert await ask_all(installation.gateways, question, others) == {("false", "not_in"): MEMBERS}
