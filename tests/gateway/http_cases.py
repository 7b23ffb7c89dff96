"""What clients, proxies and attackers send, and what must come of it: how many answers, which, and whether it goes on.

Where a request can't be read, nobody knows where the next one begins: it is answered 400 and the connection closed.
What follows a body's announced end is a request; what stands before it never is.
"""

from __future__ import annotations

from dataclasses import dataclass

LIST = "heap_premium_users"
MEMBER = "alice"
TARGET = f"/check-attribute?attribute={MEMBER}&listId={LIST}".encode()


def request(*headers: bytes, method: bytes = b"GET", target: bytes = TARGET, version: bytes = b"HTTP/1.1") -> bytes:
    lines = [method + b" " + target + b" " + version, b"Host: x", *headers, b"", b""]
    return b"\r\n".join(lines)


CHECK = request()
READY = request(target=b"/readyz")
NOTHING = request(target=b"/nothing-here")
LAST = request(b"Connection: close", target=b"/healthz")  # what each case ends with; it shows that all are in step
CHUNKED = b"Transfer-Encoding: chunked"
IN_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CHECK), CHECK)
_LENGTH = b"Content-Length: %d" % len(CHECK)


@dataclass(frozen=True)
class Case:
    """`sent`, and then `LAST`. `answers`: statuses, and of checks `X-Membership`; `ok` is the answer to `LAST`.

    The server closes at the end in any case; without `ok`, it closed before `LAST`.
    """

    name: str
    sent: bytes
    answers: str


PIPELINES = [
    *(Case(f"{count} checks", CHECK * count, "in " * count + "ok") for count in (2, 3, 5, 16, 17, 20)),
    Case("checks among others", CHECK + READY + CHECK + NOTHING + CHECK, "in ok in 404 in ok"),
    Case("others among checks", (READY + CHECK + CHECK) * 6, "ok in in " * 6 + "ok"),
    Case("others alone", READY * 10, "ok " * 10 + "ok"),
    Case("a HEAD is in the way", CHECK + request(method=b"HEAD") + CHECK, "in in in ok"),
    Case("line breaks between", CHECK + b"\r\n\r\n" + CHECK + b"\r\n", "in in ok"),
    Case("line breaks before", b"\r\n\r\n\r\n" + CHECK, "in ok"),
    Case("the last says close", CHECK + request(b"Connection: close") + CHECK, "in in"),
    Case("the first says close", request(b"Connection: close") + CHECK * 3, "in"),
    Case("another says close", request(b"Connection: close", target=b"/readyz") + CHECK * 3, "ok"),
]

KEEPING = [
    Case("keep-alive", request(b"Connection: keep-alive") + CHECK, "in in ok"),
    Case("close, in capitals", request(b"CONNECTION: CLOSE") + CHECK, "in"),
    Case("close among others", request(b"Connection: keep-alive, close") + CHECK, "in"),
    Case("close in a second header", request(b"Connection: x", b"Connection: close") + CHECK, "in"),
    Case("HTTP/1.0", request(version=b"HTTP/1.0"), "in"),
    Case("HTTP/1.0, keep-alive", request(b"Connection: keep-alive", version=b"HTTP/1.0"), "in"),
    Case("HTTP/0.9", b"GET " + TARGET + b"\r\n\r\n", "in"),
    Case("HTTP/2.0", request(version=b"HTTP/2.0"), "in"),
    Case("no Host", b"GET " + TARGET + b" HTTP/1.1\r\n\r\n", "in ok"),
    Case("two Hosts", request(b"Host: y"), "in ok"),
    Case("Expect", request(b"Expect: 100-continue"), "in ok"),
    Case("Expect and a body", request(b"Expect: 100-continue", b"Content-Length: 5") + b"hello", "in ok"),
    Case("Upgrade that Connection does not name", request(b"Upgrade: websocket") + CHECK, "in in ok"),
    Case("a header of Latin-1", request(b"X-Name: Jos\xe9"), "in ok"),
    Case("a header without a value", request(b"X-Name:"), "in ok"),
    Case("2,000 headers", request(*(b"X-%d: a" % number for number in range(2000))), "in ok"),
]

BODIES = [
    Case("a body that looks like a check", request(_LENGTH) + CHECK, "in ok"),
    Case("the same of another request", request(_LENGTH, target=b"/healthz") + CHECK, "ok ok"),
    Case("the same of a POST", request(_LENGTH, method=b"POST") + CHECK, "405 ok"),
    Case("the same of a POST elsewhere", request(_LENGTH, method=b"POST", target=b"/nothing") + CHECK, "404 ok"),
    Case("the same in chunks", request(CHUNKED) + IN_CHUNKS, "in ok"),
    Case("the same in chunks of another", request(CHUNKED, target=b"/healthz") + IN_CHUNKS, "ok ok"),
    Case("the same behind a check", CHECK + request(_LENGTH, target=b"/healthz") + CHECK, "in ok ok"),
    Case("then a check", request(_LENGTH) + CHECK + CHECK, "in in ok"),
    Case("no bytes, as announced", request(b"Content-Length: 0") + CHECK, "in in ok"),
    Case("no chunks", request(CHUNKED) + b"0\r\n\r\n" + CHECK, "in in ok"),
    Case("trailers", request(CHUNKED) + b"0\r\nX-Name: a\r\n\r\n" + CHECK, "in in ok"),
    Case("an extended chunk", request(CHUNKED) + b"5;a=b\r\nhello\r\n0\r\n\r\n" + CHECK, "in in ok"),
    Case("gzip, chunked", request(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n" + CHECK, "in in ok"),
    Case("a POST", request(method=b"POST") + CHECK, "405 in ok"),
    Case("a PUT", request(method=b"PUT") + CHECK, "405 in ok"),
]

# Two lengths, or a length that reads in two ways: a proxy in front may see the border between requests elsewhere.
REFUSED = [
    Case("length twice", request(b"Content-Length: 0", b"Content-Length: 0"), "400"),
    Case("two lengths", request(b"Content-Length: 0", _LENGTH) + CHECK, "400"),
    Case("length and chunks", request(_LENGTH, CHUNKED) + IN_CHUNKS, "400"),
    Case("chunks and length", request(CHUNKED, b"Content-Length: 0") + IN_CHUNKS, "400"),
    Case("a length with a sign", request(b"Content-Length: +5") + b"hello", "400"),
    Case("a negative length", request(b"Content-Length: -1"), "400"),
    Case("a length in words", request(b"Content-Length: five"), "400"),
    Case("a length beyond all numbers", request(b"Content-Length: " + b"9" * 30), "400"),
    Case("lengths with a comma", request(b"Content-Length: 0, 0"), "400"),
    Case("an unknown coding", request(b"Transfer-Encoding: xchunked"), "400"),
    Case("identity", request(b"Transfer-Encoding: identity"), "400"),
    Case("chunked, but not last", request(b"Transfer-Encoding: chunked, gzip"), "400"),
    Case("a folded header", request(b"X-Name: a\r\n b"), "400"),
    Case("a folded length", request(b"Content-Length:\r\n 5") + b"hello", "400"),
    Case("a folded first header", b"GET " + TARGET + b" HTTP/1.1\r\n Host: x\r\n\r\n", "400"),
    Case("a lone CR in a header", request(b"X-Name: a\rX-Other: b"), "400"),
    Case("a lone LF in a header", request(b"X-Name: a\nContent-Length: 5"), "400"),
    Case("lone LFs everywhere", CHECK.replace(b"\r\n", b"\n"), "400"),
    Case("a lone LF at the end", CHECK.removesuffix(b"\r\n") + b"\n", "400"),
    Case("a lone LF in the first line", b"GET " + TARGET + b" HTTP/1.1\nX: y HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
    Case("the same behind the list", b"GET " + TARGET + b"&x HTTP/1.1\nX: y HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
    Case("a check of lone LFs", (CHECK.replace(b" HTTP", b"&x HTTP")).replace(b"\r\n", b"\n") + READY, "400"),
    Case("a lone CR in the first line", b"GET " + TARGET + b"&x HTTP/1.1\rX: y HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
    Case("a NUL in a header", request(b"X-Name: a\0b"), "400"),
    Case("a NUL in a name", request(b"X\0Name: a"), "400"),
    Case("a blank in a name", request(b"X Name: a"), "400"),
    Case("a blank behind a name", request(b"Content-Length : 5") + b"hello", "400"),
    Case("no colon", request(b"X-Name"), "400"),
    Case("no name", request(b": a"), "400"),
    Case("lower-case method", request(method=b"get"), "400"),
    Case("no method", TARGET + b" HTTP/1.1\r\n\r\n", "400"),
    Case("an unknown method", request(method=b"FETCH"), "400"),
    Case("a longer method", request(method=b"GETX"), "400"),
    Case("CONNECT", request(method=b"CONNECT", target=b"x:80"), "400"),
    Case("HTTP/1.2", request(version=b"HTTP/1.2"), "400"),
    Case("HTTP/1.10", request(version=b"HTTP/1.10"), "400"),
    Case("http/1.1", request(version=b"http/1.1"), "400"),
    Case("blanks behind the version", request(version=b"HTTP/1.1 "), "400"),
    Case("tabs for blanks", b"GET\t" + TARGET + b"\tHTTP/1.1\r\n\r\n", "400"),
    Case("a target without a slash", request(target=TARGET[1:]), "400"),
    Case("words", b"hello\r\n\r\n", "400"),
    Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), "400"),
    Case("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"),
    Case("a chunk without a length", request(CHUNKED, target=b"/healthz") + b"zz\r\n", "400"),
]

TARGETS = [
    Case("absolute", request(target=b"http://gateway" + TARGET) + CHECK, "in in ok"),
    Case("absolute, in capitals", request(target=b"HTTP://gateway" + TARGET) + CHECK, "in in ok"),
    Case("absolute, elsewhere", request(target=b"https://other.example:99" + TARGET), "in ok"),
    Case("of OPTIONS", request(method=b"OPTIONS", target=b"*") + CHECK, "404 in ok"),
    Case("OPTIONS of a check", request(method=b"OPTIONS") + CHECK, "405 in ok"),
    Case("an encoded letter", request(target=TARGET.replace(b"k-a", b"k%2Da")), "in ok"),
    Case("an encoded slash in front", request(target=b"/a%2Fb" + TARGET), "404 ok"),
    Case("an encoded question mark in front", request(target=b"/a%3Fb" + TARGET), "in ok"),
    Case("two segments in front", request(target=b"/a/b" + TARGET), "404 ok"),
    Case("an empty segment in front", request(target=b"/" + TARGET), "404 ok"),
    Case("two dots in front", request(target=b"/.." + TARGET), "in ok"),
    Case("a slash behind", request(target=TARGET.replace(b"?", b"/?")), "404 ok"),
    Case("a parameter of the path", request(target=TARGET.replace(b"?", b";a=b?")), "404 ok"),
    Case("a longer name", request(target=TARGET.replace(b"?", b"s?")), "404 ok"),
    Case("other capitals", request(target=TARGET.replace(b"check", b"Check")), "404 ok"),
    Case("no query", request(target=b"/check-attribute"), "incomplete ok"),
    Case("an empty query", request(target=b"/check-attribute?"), "incomplete ok"),
    Case("two question marks", request(target=TARGET.replace(b"?", b"??")), "incomplete ok"),
    Case("quotes and brackets", request(target=TARGET.replace(MEMBER.encode(), b"a\"<>\\^`{|}'")), "not_in ok"),
]

CASES = [*PIPELINES, *KEEPING, *BODIES, *REFUSED, *TARGETS]
