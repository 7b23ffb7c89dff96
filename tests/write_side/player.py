"""One random history over HTTP, and the comparison with the model."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from attribute_lists import keys
from cohort_sync.signature import HEADER, sign
from local_stack.sample_push import build_drain, build_push
from tests.support.heap import SECRET
from tests.write_side.events import (
    BEGINS_EPOCH,
    Accept,
    Break,
    Delete,
    Deliver,
    Drain,
    Erase,
    SenderDrains,
    SetActive,
    SetAliases,
    SetMode,
    Together,
    end_of_epoch,
    with_people,
)
from tests.write_side.model import HOUR_MS, Model, Page
from tests.write_side.sites import ACCOUNT, API, TOKEN, list_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.write_side.events import Damage, Event, Moment
    from tests.write_side.sites import Site

RETRY_SECONDS = 60.0
_FIRST_EPOCH_AGO_MS = 12 * HOUR_MS
_GAP_MS = 5  # from the answer to a command to the epoch that it begins


class HistoryError(AssertionError):
    """A list is not what the model says, or an answer came that no retry mends."""


@dataclass
class Tally:
    histories: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    refused: int = 0


class Caller:
    """Heap, the operator and an SDK: one client for all, which asks again while nobody answers."""

    def __init__(self, site: Site, gateway: str, tally: Tally) -> None:
        self.site = site
        self.tally = tally
        self.breaking = asyncio.Lock()
        self._gateway = gateway
        self._client = httpx.AsyncClient(verify=False, timeout=30)  # noqa: S501 - plain HTTP; certificates cost a second

    async def aclose(self) -> None:
        await self._client.aclose()

    async def push(self, body: bytes, signed: int) -> None:
        """Until somebody answers 200, always with the same signature."""
        headers = {HEADER: sign(SECRET, body, timestamp_ms=signed), "Content-Type": "application/json"}
        await self._insist("POST", f"{self.site.webhook}/webhooks/heap", content=body, headers=headers)

    async def operate(self, method: str, path: str, body: Any = None, *, also: int = 200) -> httpx.Response:
        """A command; `also`: another status that is an answer."""
        url, headers = f"{self.site.administration}{API}{path}", {"Authorization": f"Bearer {TOKEN}"}
        return await self._insist(method, url, also=also, json=body, headers=headers)

    async def check(self, who: str, list_id: str) -> bool:
        question = {"attribute": who, "listId": list_id, "accountId": ACCOUNT}
        answer = await self._client.get(f"{self._gateway}/check-attribute", params=question)
        return answer.text == "true"

    async def _insist(self, method: str, url: str, *, also: int = 200, **options: Any) -> httpx.Response:
        deadline = time.monotonic() + RETRY_SECONDS
        answer: httpx.Response | None = None
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                answer = await self._client.request(method, url, **options)
                if answer.status_code in (httpx.codes.OK, also):
                    return answer
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    break
            self.tally.refused += 1
            await asyncio.sleep(0.05)
        said = "nobody answers" if answer is None else f"{answer.status_code} {answer.text[:200]}"
        raise HistoryError(f"{method} {url}: {said}")


class Player:
    """Plays one history on a segment of its own; `number` makes its names."""

    def __init__(self, caller: Caller, number: int, *, most_shrink: float) -> None:
        self.model = Model(most_shrink, own_alias=str(100_000 + number))
        self._caller = caller
        self._segment: dict[str, Any] = {"segment_id": 100_000 + number, "segment_name": f"History {number}"}
        self.list_id = f"heap_history_{number}"
        self._path = list_path(self.list_id)
        self._people = f"h{number}-"
        self._epochs = [_now() - _FIRST_EPOCH_AGO_MS]
        self._named: set[str] = set()

    async def play(self, events: tuple[Event, ...]) -> None:
        """Raises `HistoryError`, and `UnknowableError` where the history has no known end."""
        for event in events:
            self._caller.tally.happened[type(event).__name__] += 1
            if isinstance(event, BEGINS_EPOCH):
                await self._end_epoch()
            await self._do(event)
            if isinstance(event, BEGINS_EPOCH):
                self._epochs.append(_now() + _GAP_MS)
                await asyncio.sleep((_GAP_MS + end_of_epoch(1)) / 1000)  # nothing is ever signed ahead of the clock

    async def compare(self, *, seconds: float) -> None:
        """Wait until everything is as the model says. Raises `HistoryError` with the differences."""
        deadline = time.monotonic() + seconds
        while found := [text async for text in self._differences()]:
            if time.monotonic() > deadline:
                raise HistoryError("\n".join(found))
            await asyncio.sleep(0.05)

    async def _do(self, event: Event) -> None:
        match event:
            case Deliver():
                await self._deliver(event)
            case Together():
                await asyncio.gather(*(self._deliver(delivery) for delivery in event.deliveries))
            case SenderDrains():
                signed = self._time(event.signed)
                await self._caller.push(build_drain(**self._segment), signed)
                self.model.drain_of_sender(signed)
            case Break():
                async with self._caller.breaking:
                    await asyncio.to_thread(_break, self._caller.site, self.list_id, event.what)
                if not self._caller.site.side.knows_its_lists:
                    await self._wait_for_list()
            case _:
                await self._command(event)

    async def _command(self, event: Event) -> None:
        model, operate = self.model, self._caller.operate
        match event:
            case SetMode():
                await operate("PATCH", self._path, {"mode": event.mode})
                model.mode = event.mode
            case SetActive():
                await operate("PATCH", self._path, {"active": event.is_active})
                model.is_active = event.is_active
            case SetAliases():
                names = {f"history{self._segment['segment_id']}:{name}" for name in event.names}
                names |= {model.own_alias} if event.own else set()
                await operate("PATCH", self._path, {"aliases": sorted(names)})
                model.aliases = frozenset(names)
            case Accept():
                await self._accept()
            case Drain():
                await operate("POST", f"{self._path}/drain")
                model.drain()
            case Delete():
                # A lost answer may have been yes.
                await operate("DELETE", self._path, also=httpx.codes.NOT_FOUND)
                model.delete()
            case Erase():
                await operate("POST", "/erase", {"id": self._people + event.person})
                model.erase(self._people + event.person)
            case _:
                raise AssertionError(f"no command: {event}")

    async def _wait_for_list(self) -> None:
        """Until it is told again that there is one: commands are refused for good before."""
        deadline = time.monotonic() + RETRY_SECONDS
        while time.monotonic() < deadline:
            answer = await self._caller.operate("GET", self._path, also=httpx.codes.NOT_FOUND)
            if answer.status_code == httpx.codes.OK:
                return
            await asyncio.sleep(0.05)
        raise HistoryError(f"{self.list_id} does not come back")

    async def _deliver(self, event: Deliver) -> None:
        page, signed = with_people(event.page, self._people), self._time(event.signed)
        await self._caller.push(_body(page, self._segment), signed)
        self.model.deliver(page, signed)
        self._named |= page.add | page.remove

    async def _end_epoch(self) -> None:
        """A page that says nothing, so that everything of this epoch lies before the newest time seen."""
        epoch = len(self._epochs) - 1
        tick = Page(f"tick-{epoch}", 1, 2, frozenset(), frozenset())
        signed = self._epochs[epoch] + end_of_epoch(epoch)
        await self._caller.push(_body(tick, self._segment), signed)
        self.model.deliver(tick, signed)

    async def _accept(self) -> None:
        """Only where it is known what it would do: which of two that wait is meant is nobody's promise."""
        if len(self.model.held) > 1:
            return
        await self._caller.operate("POST", f"{self._path}/accept", also=httpx.codes.NOT_FOUND)
        self.model.accept()

    def _time(self, moment: Moment) -> int:
        return self._epochs[moment.epoch] + moment.offset

    async def _differences(self) -> AsyncIterator[str]:
        model, wanted = self.model, self.model.members()
        answer = await self._caller.operate("GET", self._path, also=httpx.codes.NOT_FOUND)
        if answer.status_code == httpx.codes.NOT_FOUND:
            if model.exists:
                yield f"there is no {self.list_id}, which should hold {sorted(wanted)}"
            return
        shown = answer.json()
        found = {
            "mode": (shown["mode"], model.mode),
            "active": (shown["active"], model.is_active),
            "aliases": (set(shown["aliases"]), set(model.aliases)),
            "members": (shown["members"], len(wanted)),
            "a snapshot is held": (bool(shown["held"]), bool(model.held)),
        }
        for what, (actual, expected) in found.items():
            if actual != expected:
                yield f"{what}: {actual}, not {expected}"
        listed = (await self._caller.operate("GET", f"{self._path}/members")).json()["members"]
        for who in sorted(wanted ^ set(listed)):
            yield f"{who} is {'missing' if who in wanted else 'there'} in the list: {model.told_of(who)}"
        names = [self.list_id, *sorted(model.aliases)]
        for who, name in zip(sorted(self._named), itertools.cycle(names), strict=False):
            expected = model.is_active and who in wanted
            if await self._caller.check(who, name) != expected:
                yield f"the gateway says that {who} is {'not ' * expected}in {name}: {model.told_of(who)}"


def _break(site: Site, list_id: str, what: Damage) -> None:
    with site.store.client() as client:
        match what:
            case "flushall":
                client.flushall()
            case "members":
                client.delete(keys.members(ACCOUNT, list_id))
            case "about":
                client.delete(keys.about(ACCOUNT, list_id))
            case "registry":
                client.delete(keys.REGISTRY_LISTS, keys.REGISTRY_ALIASES, keys.REGISTRY_SEGMENTS)
            case "receiver":
                site.restart_receiver()
            case "store":
                site.store.kill()
                site.store.start()


def _body(page: Page, segment: dict[str, Any]) -> bytes:
    return build_push(
        **segment, task=page.task, add=sorted(page.add), remove=sorted(page.remove), page=page.number, pages=page.total
    )


def _now() -> int:
    return int(time.time() * 1000)
