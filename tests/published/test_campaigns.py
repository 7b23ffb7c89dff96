"""Names of campaigns and variations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from published.campaigns import KEPT_SECONDS, TESTING, Campaign, Campaigns, Variation, id_text, key_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

ACCOUNT = "123456"


def campaign(number: int) -> Campaign:
    return Campaign(f"flag-{number}", TESTING, {"1": Variation("control", "rule"), "2": Variation("grün", "rule")})


async def test_they_are_found_by_id_and_account(client: Redis) -> None:
    campaigns = Campaigns(client)
    everything = {str(number): campaign(number) for number in range(450)}
    await campaigns.publish(ACCOUNT, everything)
    assert await campaigns.find(ACCOUNT, everything) == everything
    assert await campaigns.find(ACCOUNT, ["3", "999", "3"]) == {"3": campaign(3)}
    assert await campaigns.find("7", ["3"]) == {}


async def test_one_that_left_the_settings_is_known_for_a_while(client: Redis) -> None:
    campaigns = Campaigns(client)
    await campaigns.publish(ACCOUNT, {"1": campaign(1), "2": campaign(2)})
    await client.expire(key_of(ACCOUNT, "1"), 100)
    await campaigns.publish(ACCOUNT, {"2": campaign(5)})
    assert await campaigns.find(ACCOUNT, ["1", "2"]) == {"1": campaign(1), "2": campaign(5)}
    assert 0 < await client.ttl(key_of(ACCOUNT, "1")) <= 100
    assert await client.ttl(key_of(ACCOUNT, "2")) > KEPT_SECONDS - 100


async def test_what_can_t_be_read_is_not_known(client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    await client.set(key_of(ACCOUNT, "1"), b'{"flag":')
    assert await Campaigns(client).find(ACCOUNT, ["1"]) == {}
    assert "can't be read" in caplog.text


@pytest.mark.parametrize(
    ("value", "text"),
    [(2, "2"), ("2", "2"), (2.0, "2"), ("a-b", "a-b"), (2.5, None), (True, None), (None, None), ([], None)],
)
def test_an_id_is_the_same_as_a_number_and_as_a_text(value: Any, text: str | None) -> None:
    assert id_text(value) == text
