"""Bodies may begin with the byte-order mark of UTF-8; what is UTF-16 is refused with the cure."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING

import pytest

from tests.heap_export import statsig_webhook
from tests.heap_export.conftest import TOKEN
from tests.support import http

if TYPE_CHECKING:
    from tests.heap_export.conftest import Service

MARK = codecs.BOM_UTF8
UTF_16 = ["utf-16", "utf-16-le", "utf-16-be", "utf-32-be"]
PATHS = ["/v1/events", "/v1/exposures", statsig_webhook.PATH]


def body_for(path: str, identity: str) -> bytes:
    bodies = {
        "/v1/events": {"type": "track", "event": "Bought", "userId": identity, "messageId": identity},
        "/v1/exposures": {"source": "optimizely", "flag_key": "a", "variation_key": "b", "identity": identity},
        statsig_webhook.PATH: {"data": [statsig_webhook.event("bought", identity)]},
    }
    return json.dumps(bodies[path]).encode()


def post(service: Service, path: str, body: bytes) -> tuple[int, str]:
    sent = statsig_webhook.send(service, body) if path == statsig_webhook.PATH else service.post(path, body)
    return sent.status_code, sent.text


@pytest.mark.parametrize("path", PATHS)
def test_a_body_may_begin_with_a_mark(standing: Service, path: str, ann: str) -> None:
    status, said = post(standing, path, MARK + body_for(path, ann))
    assert status == 200, said
    assert len(standing.sent(ann, 1)) == 1


@pytest.mark.parametrize("encoding", UTF_16)
@pytest.mark.parametrize("path", PATHS)
def test_a_body_in_utf_16_is_refused_with_the_cure(standing: Service, path: str, ann: str, encoding: str) -> None:
    status, said = post(standing, path, body_for(path, ann).decode().encode(encoding))
    assert status == 400
    assert "UTF-16" in said
    assert "as UTF-8" in said


def test_the_handshake_of_statsig_may_begin_with_a_mark(standing: Service) -> None:
    asked = {"data": {"event": "url_verification", "verification_code": "code"}}
    answer = standing.post(statsig_webhook.PATH, MARK + json.dumps(asked).encode(), key=None)
    assert answer.json() == {"verification_code": "code"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", *UTF_16])
def test_what_operators_send_may_begin_with_a_mark(standing: Service, ann: str, encoding: str) -> None:
    """The framework reads it, and takes UTF-16 too."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    body = json.dumps({"id": ann}).encode(encoding)
    answer = http.request("POST", f"{standing.admin_address}/v1/admin/log", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
