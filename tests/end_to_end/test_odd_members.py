"""Pages with members that nobody expects: the others of the page arrive all the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.end_to_end.installation import ACCOUNT, LIST
from tests.support.http import membership

if TYPE_CHECKING:
    from tests.end_to_end.installation import Installation

MANY_DIGITS = "9" * 5000
DEEP = '{"a":[' * 50_000 + "]}" * 50_000

# What a page may hold for an id, and what an SDK asks for the same value; `None`: no member.
MEMBERS = {
    "1e21": "1e+21",
    "1.50": "1.5",
    "0.0000001": "1e-7",
    "12345678901234567890": "12345678901234567890",
    '"a\\u0000b"': "a\0b",
    '"c\td"': "c\td",
    '"\\ud83d\\ude00"': "\U0001f600",
    MANY_DIGITS: None,
    f'"{MANY_DIGITS}"': None,
    DEEP: None,
    "NaN": None,
    "-Infinity": None,
    "1e400": None,
    "true": None,
    '"half \\ud800"': None,
}
NOBODY = ("nan", "NaN", "inf", "-inf", "Infinity", "-Infinity", "1e400", "true", "True", "half ?", MANY_DIGITS)


def page(task: str, add: str, extra: str = "{}") -> bytes:
    sync_info = {"page_number": 1, "total_pages": 1, "sync_task_id": task}
    data = {"segment": {"id": 1338065, "name": "Premium Users"}, "sync_info": sync_info, "add": "ADD", "x": "EXTRA"}
    push = {"action_type": "segment.users.sync", "customer_config": "EXTRA", "data": data}
    return json.dumps(push).replace('"ADD"', add).replace('"EXTRA"', extra).encode()


def described(installation: Installation) -> dict[str, object]:
    found: dict[str, object] = json.loads(installation.operate("segments", "list", "--json"))[0]
    return found


def test_one_odd_member_never_refuses_the_others(installation: Installation) -> None:
    def state(who: str) -> str:
        return membership(installation.gateway, who, LIST, account=ACCOUNT)

    odd = ",".join(f'{{"id":{value}}}' for value in MEMBERS)
    body = page("odd", f'[{{"id":"first","x":{DEEP}}},{odd},{{"x":{MANY_DIGITS},"id":"last"}}]')
    assert installation.send(body).status_code == 200
    members = ["first", "last", *(text for text in MEMBERS.values() if text is not None)]
    assert {who: state(who) for who in members} == dict.fromkeys(members, "in")
    assert {who: state(who) for who in NOBODY} == dict.fromkeys(NOBODY, "not_in")
    skipped = sum(text is None for text in MEMBERS.values())
    assert (described(installation)["members"], described(installation)["skipped"]) == (len(members), skipped)


def test_odd_values_elsewhere(installation: Installation) -> None:
    """What nobody reads refuses no page, behind a byte-order mark either; what is read is named."""
    for who, extra in (("alice", DEEP), ("bob", MANY_DIGITS), ("carol", "NaN")):
        body = b"\xef\xbb\xbf" + page(who, f'[{{"id":"{who}"}}]', extra)
        assert installation.send(body).status_code == 200
        assert membership(installation.gateway, who, LIST, account=ACCOUNT) == "in"
    for odd in (MANY_DIGITS, DEEP, "NaN"):
        answer = installation.send(page("TASK", '[{"id":"dave"}]').replace(b'"TASK"', odd.encode()))
        assert (answer.status_code, answer.json()["error"].partition(": ")[0]) == (400, "data.sync_info.sync_task_id")
