"""Short runs of `scripts/fuzz_webhook` and `scripts/fuzz_gateway`; docs/reliability.md has long ones."""

from __future__ import annotations

from tests.fuzz import run_gateway
from tests.fuzz.requests import Sent
from tests.fuzz.run import fuzz, fuzzed


def test_a_few_hundred_odd_requests() -> None:
    with fuzzed() as target:
        tally = fuzz(target, seed=300, start=0, count=400)
    assert tally.requests == 400
    assert {"200", "400", "403"} <= tally.answers.keys()


def test_a_few_hundred_odd_requests_to_the_gateway() -> None:
    with run_gateway.fuzzed() as target:
        tally = run_gateway.fuzz_gateway(target, seed=300, start=0, count=400)
    assert tally.requests == 400
    assert {"200", "400", "401", "404"} <= tally.answers.keys()


def test_what_the_gateway_minded_once() -> None:
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    event = b'{"d":{"event":{"name":"bought","props":{}},"x":%s}}'
    with run_gateway.fuzzed() as target:
        for odd in (b"1e9999", b'"\xed\xa0\x80"'):
            body = event % odd
            assert target.send(Sent((head % (b"/events/t", len(body)), body)))[0] == ["200"]
        cut_short = head % (b"/user-alias/setUserAlias", 100)
        assert target.send(Sent((cut_short, b'{"userId":'), is_whole=False))[0] == ["nothing"]
        target.check_health()
