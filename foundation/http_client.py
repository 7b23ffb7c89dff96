"""An HTTP client for servers of others: whatever they answer, and however slowly, has a bound.

httpx bounds the silence between two bytes, h11 the size of a head. Here a body and the whole of an answer are bounded
too. No compression is asked for and none undone, since a few bytes of it may stand for gigabytes. Cookies are not kept.
While much arrives, others have their turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import email.utils
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import h11
import httpx

from foundation.errors import NoAnswerError
from foundation.header_patterns import make_linear
from foundation.proxies import proxy_mounts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import TracebackType

TIMEOUT, UNREACHABLE, TOO_LARGE, ENCODED = "timeout", "unreachable", "answer_too_large", "answer_encoded"
UNUSABLE = frozenset((TOO_LARGE, ENCODED))  # reasons of answers that came, and can't be used

_THIS_MACHINE = ("all://localhost", "all://127.0.0.1", "all://[::1]")
_PLAIN = frozenset(("", "identity"))
_HEAD_TOO_LARGE = 431  # h11's hint
_LONGEST_WAIT = 86_400.0  # seconds that anybody may ask us to wait


class Answer(NamedTuple):
    status: int
    headers: httpx.Headers
    body: bytes


class Incoming:
    """An answer whose head is there, and whose body is not read yet."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers = response.headers

    async def read(self, most: int) -> bytes:
        """The body, of up to `most` bytes. Raises `NoAnswerError`."""
        return b"".join([chunk async for chunk in self.chunks(most)])

    async def chunks(self, most: int | None, *, encoded: bool = False) -> AsyncIterator[bytes]:
        """The body as it comes, up to `most` bytes; None: an answer without an end. Raises `NoAnswerError`.

        `encoded`: whether it may have a `Content-Encoding`, for who wants the bytes as they are.
        """
        size = 0
        is_plain = self.headers.get("Content-Encoding", "").strip().lower() in _PLAIN
        with _named_errors():
            async for chunk in self._response.aiter_raw():
                size += len(chunk)
                if not is_plain and not encoded:
                    raise NoAnswerError("its answer is compressed, which was not asked for", reason=ENCODED)
                if most is not None and size > most:
                    raise NoAnswerError(f"its answer has more than {most:,} bytes", reason=TOO_LARGE)
                yield chunk
                await asyncio.sleep(0)  # what has arrived already is read without waiting, and may be endless


class HttpClient:
    """`silence`: seconds between two bytes; `whole`: from a request's beginning to the end of its answer.

    It connects on first use, keeps connections as httpx does or `limits` says, and goes through the proxies of the
    environment, but to this machine, and not at all without `proxies`. `aclose`, or the end of its block, ends it.
    """

    def __init__(
        self,
        *,
        silence: float | httpx.Timeout,
        whole: float | None,
        limits: httpx.Limits | None = None,
        proxies: bool = True,
    ) -> None:
        self._proxies = proxies
        self._silence = silence
        self._whole = whole
        self._limits = limits or httpx.Limits(max_connections=100, max_keepalive_connections=20)
        self._client: httpx.AsyncClient | None = None
        self._making = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def request(self, method: str, url: str, *, most: int, **options: Any) -> Answer:
        """The answer, with a body of up to `most` bytes. `options` go to httpx. Raises `NoAnswerError`."""
        async with self.stream(method, url, **options) as incoming:
            return Answer(incoming.status, incoming.headers, await incoming.read(most))

    @contextlib.asynccontextmanager
    async def stream(self, method: str, url: str, *, redirects: int = 0, **options: Any) -> AsyncIterator[Incoming]:
        """The answer for the length of the block, after up to `redirects`. Raises `NoAnswerError`."""
        client = await self._connected()
        try:
            async with asyncio.timeout(self._whole):
                response = await _opened(client, method, url, redirects, options)
                try:
                    yield Incoming(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise NoAnswerError("no answer in time", reason=TIMEOUT) from None

    async def _connected(self) -> httpx.AsyncClient:
        async with self._making:
            if self._client is None:
                # It reads the system's certificates, 20 ms in which nobody else should have to wait.
                self._client = await asyncio.to_thread(self._make)
        return self._client

    def _make(self) -> httpx.AsyncClient:
        make_linear()
        through = proxy_mounts(self._transport) if self._proxies else {}
        return httpx.AsyncClient(
            timeout=self._silence,
            cookies=_NoCookies(),
            headers={"Accept-Encoding": "identity"},
            transport=self._transport(),  # one that is given has httpx look for no proxies
            mounts=through | dict.fromkeys(_THIS_MACHINE, None),
        )

    def _transport(self, proxy: str | None = None) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(limits=self._limits, proxy=proxy)


class _NoCookies(CookieJar):
    """Takes none: a server could send others with each answer, and would get all of them back with each request."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        del response, request


def fetch(method: str, url: str, *, silence: float, whole: float, most: int, **options: Any) -> Answer:
    """One request to a service of ours, for programs without an event loop. Raises `NoAnswerError`."""

    async def ask() -> Answer:
        async with HttpClient(silence=silence, whole=whole, proxies=False) as client:
            return await client.request(method, url, most=most, **options)

    return asyncio.run(ask())


def seconds_to_wait(headers: httpx.Headers) -> float:
    """`Retry-After` in seconds from now, which HTTP has as a number or as a date; 0 where there is none."""
    wish = headers.get("Retry-After", "")
    if wish.isdecimal():
        return min(float(wish), _LONGEST_WAIT)
    try:
        moment = email.utils.parsedate_to_datetime(wish)
    except (ValueError, OverflowError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return min(max(0.0, (moment - dt.datetime.now(dt.UTC)).total_seconds()), _LONGEST_WAIT)


async def _opened(
    client: httpx.AsyncClient, method: str, url: str, redirects: int, options: dict[str, Any]
) -> httpx.Response:
    with _named_errors():
        response = await client.send(client.build_request(method, url, **options), stream=True)
        # Not httpx's own way, which reads the whole body of each redirect.
        while response.next_request is not None and redirects:
            await response.aclose()
            redirects -= 1
            response = await client.send(response.next_request, stream=True)
        return response


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    """Errors of httpx as ours. Their own words may hold the URL, and so a key, or what the server said."""
    try:
        yield
    except (httpx.TimeoutException, TimeoutError):
        raise NoAnswerError("no answer in time", reason=TIMEOUT) from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:  # the last: what can't be sent or read
        if _is_head_too_large(error):
            raise NoAnswerError("the head of its answer is too large", reason=TOO_LARGE) from None
        raise NoAnswerError(f"it can't be reached ({type(error).__name__})", reason=UNREACHABLE) from None


def _is_head_too_large(error: Exception) -> bool:
    """Whether h11 says so, whose error is inside that of httpcore, which is the cause of that of httpx."""
    inner = error.__cause__.args[:1] if error.__cause__ is not None else ()
    return any(isinstance(one, h11.RemoteProtocolError) and one.error_status_hint == _HEAD_TOO_LARGE for one in inner)
