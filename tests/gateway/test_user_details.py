"""What a user agent tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.user_details import UserAgents

if TYPE_CHECKING:
    from tests.support.processes import Program

MAC = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36"
)
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:121.0) Gecko/20100101 Firefox/121.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.1 Mobile/15E148 Safari/604.1"
)
IPAD = IPHONE.replace("iPhone; CPU iPhone OS", "iPad; CPU OS")
PIXEL = (
    "Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/116.0.0.0 Mobile Safari/537.36"
)
GALAXY_TAB = PIXEL.replace("Pixel 7", "SM-X700").replace("Mobile ", "")
FIREFOX_TABLET = "Mozilla/5.0 (Android 13; Tablet; rv:121.0) Gecko/121.0 Firefox/121.0"
KINDLE_FIRE = (
    "Mozilla/5.0 (Linux; U; Android 4.0.3; en-us; KFTT Build/IML74K) AppleWebKit/535.19 (KHTML, like Gecko) "
    "Silk/2.1 Mobile Safari/535.19 Silk-Accelerated=true"
)
FIRE_MAX = (
    "Mozilla/5.0 (Linux; Android 11; KFSNWI) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Silk/120.1.1 like Chrome/120.0.6099.230 Mobile Safari/537.36"
)
FIRE_AS_DESKTOP = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Silk/120.1.1 like Chrome/120.0.6099.230 Safari/537.36"
)
FIRE_PHONE = KINDLE_FIRE.replace("KFTT", "SD4930UR")
FIRE_TV = FIRE_MAX.replace("KFSNWI", "AFTMM")
APP_ON_A_FIRE = "Dalvik/2.1.0 (Linux; U; Android 9; KFONWI Build/PS7331)"
APP_ON_A_PHONE = "Dalvik/2.1.0 (Linux; U; Android 12; SM-G991B Build/SP1A)"
CHROMEBOOK = MAC.replace("Macintosh; Intel Mac OS X 10_15_7", "X11; CrOS x86_64 14541.0.0")
TELEVISION = "Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) TV Safari/537.36"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.fixture(scope="module")
def user_agents() -> UserAgents:
    return UserAgents()


def ask(program: Program, query: str) -> httpx.Response:
    return httpx.get(f"{program.address}/get-user-details?{query}")


def test_the_answer_has_the_shape_that_sdks_read(gateway: Program) -> None:
    parameters = httpx.QueryParams(userAgent=MAC, ipAddress="203.0.113.9", accountId="123456")
    for query in (str(parameters), str(parameters).replace("+", "%20")):
        answer = ask(gateway, query)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {
            "location": {},
            "userAgent": {
                "os": "macOS",
                "os_version": "10.15.7",
                "browser_string": "Chrome",
                "browser_version": "120.0.0.0",
                "device_type": "desktop",
                "device": "Other",
            },
        }


@pytest.mark.parametrize(
    "query",
    [
        "",
        "userAgent=",
        "ipAddress=203.0.113.9&accountId=123456",
        "userAgent=%00%FF%E9&userAgent=twice",
        "userAgent=" + "x" * 20_000,
        "&&=%%%",
    ],
)
def test_rubbish_and_nothing_get_versions_that_are_empty(gateway: Program, query: str) -> None:
    answer = ask(gateway, query)
    assert answer.status_code == 200
    assert answer.json() == {"location": {}, "userAgent": {"os_version": "", "browser_version": ""}}


@pytest.mark.parametrize(
    ("user_agent", "kind", "device"),
    [
        (MAC, "desktop", "Other"),
        (WINDOWS, "desktop", "Other"),
        (CHROMEBOOK, "desktop", "Other"),
        (IPHONE, "mobile", "iPhone"),
        (PIXEL, "mobile", "Pixel 7"),
        (APP_ON_A_PHONE, "mobile", "Samsung SM-G991B"),
        (IPAD, "tablet", "iPad"),
        (GALAXY_TAB, "tablet", "SM-X700"),
        (FIREFOX_TABLET, "tablet", "Generic Tablet"),
        (KINDLE_FIRE, "tablet", "Kindle Fire HD"),
        (FIRE_MAX, "tablet", "Kindle"),
        (PIXEL.replace("Pixel 7", "KFRAWI"), "tablet", "KFRAWI"),
        (FIRE_AS_DESKTOP, "tablet", "Kindle"),
        (APP_ON_A_FIRE, "tablet", "KFONWI"),
        (FIRE_PHONE, "mobile", "Kindle"),
        (FIRE_TV, None, "Kindle"),
        (TELEVISION, None, "Samsung SMART-TV"),
        (CRAWLER, None, "Spider"),
        ("curl/8.0", None, None),
    ],
)
def test_device_types(user_agents: UserAgents, user_agent: str, kind: str | None, device: str | None) -> None:
    described = user_agents.describe(user_agent)
    assert described.get("device_type") == kind
    assert described.get("device") == device


def test_a_kindle_fire_is_a_tablet(gateway: Program) -> None:
    """Its browser says `Mobile`, as those of phones do."""
    answer = ask(gateway, str(httpx.QueryParams(userAgent=KINDLE_FIRE)))
    assert answer.json()["userAgent"]["device_type"] == "tablet"


def test_what_is_unknown_is_left_out_but_for_the_versions(user_agents: UserAgents) -> None:
    assert user_agents.describe("curl/8.0") == {"browser_string": "curl", "os_version": "", "browser_version": "8.0"}
    assert user_agents.describe(WINDOWS) == {
        "os": "Windows",
        "os_version": "10",
        "browser_string": "Firefox",
        "browser_version": "121.0",
        "device_type": "desktop",
        "device": "Other",
    }


def test_a_user_agent_is_looked_at_up_to_a_limit(user_agents: UserAgents) -> None:
    assert user_agents.describe("x" * 1024 + WINDOWS) == user_agents.describe("x" * 1024)
