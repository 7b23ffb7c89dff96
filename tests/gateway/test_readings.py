"""What a value on the wire may mean."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.readings import AskedIds, Question, read_ids, read_question, readings_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
_ENCODED = re.compile(
    "%(?:[0189a-f][0-9a-f]|2[02357]|3[ce]|5[b-e]|60|7[b-df])", re.IGNORECASE
)  # escapes that fetch writes
LATIN_1 = st.text(st.characters(max_codepoint=255), min_size=1)


def utf8(*texts: str) -> list[bytes]:
    return [text.encode() for text in texts]


@pytest.mark.parametrize(
    ("value", "meanings"),
    [
        (b"alice", utf8("alice")),
        (b"42", utf8("42")),
        (b"a,b", utf8("a,b")),
        (b"a@x.com", utf8("a@x.com")),
        (b"a+b", utf8("a+b", "a b")),
        (b"a+b@x.com", utf8("a+b@x.com")),  # who leaves @ raw means a plus
        (b"a+b,c", utf8("a+b,c")),
        (b"a+b%40x.com", utf8("a b@x.com")),  # who escapes it writes a form
        (b"a+b%2bc", utf8("a b+c")),
        (b"a+b%3A", utf8("a b:")),
        (b"a+b%22", utf8('a+b"', 'a b"')),  # both do
        (b"a+b%40x@y", utf8("a+b@x@y", "a b@x@y")),
        (b"a%2Bb", utf8("a+b")),
        (b"a%20b", utf8("a b")),
        (b"a%20b+c", utf8("a b+c")),  # forms know no %20
        (b"Jos\xe9", utf8("José")),
        ("José".encode(), utf8("José", "JosÃ©")),
        (b"Jos%C3%A9", utf8("José", "JosÃ©")),
        (b"Jos%e9", utf8("José")),
        (b"Jos\xe9+x", utf8("José+x", "José x")),
        (b"%E4%B8%AD", utf8("中", "ä\xb8\xad")),
        (b"%ED%A0%80", utf8("í\xa0\x80")),  # half of a surrogate pair is no UTF-8
        (b"100%", utf8("100%")),
        (b"50%off", utf8("50%off")),
        (b"%zz%41", utf8("%zzA")),
        (b"a#b", utf8("a#b")),
        (b"", []),
    ],
)
def test_each_value_has_every_reading_that_decodes(value: bytes, meanings: list[bytes]) -> None:
    assert readings_of(value) == meanings


@pytest.mark.parametrize(
    ("query", "question"),
    [
        (b"attribute=a&listId=l&accountId=1", Question([b"a"], "l", "1", None)),
        (b"attribute=a&listId=l", Question([b"a"], "l", None, None)),
        (b"attribute=a&listId=l&sdkKey=k&accountId=1", Question([b"a"], "l", "1", "k")),
        (b"attribute=a&b&listId=l&accountId=1", Question([b"a&b"], "l", "1", None)),
        (b"attribute=a&listId=other&listId=l&accountId=1", Question([b"a&listId=other"], "l", "1", None)),
        (b"attribute=a&accountId=9&listId=l&accountId=1", Question([b"a&accountId=9"], "l", "1", None)),
        (b"attribute=a&attribute=b&listId=l", Question([b"a&attribute=b"], "l", None, None)),
        (b"attribute=a=b&listId=l", Question([b"a=b"], "l", None, None)),
        (b"attribute=a#b&listId=l&accountId=1", Question([b"a#b"], "l", "1", None)),
        (b"attribute=a&listId=67c8:17&accountId=1", Question([b"a"], "67c8:17", "1", None)),
        (b"attribute=a&listId=67c8%3A17", Question([b"a"], "67c8:17", None, None)),
        (b"attribute=a&listId=l&sn=x&random=0.1", Question([b"a"], "l", None, None)),
    ],
)
def test_the_value_ends_at_the_last_list_id(query: bytes, question: Question) -> None:
    assert read_question(query) == question


@pytest.mark.parametrize(
    "query",
    [
        b"listId=l&attribute=a&accountId=1&sdkKey=k",
        b"listId=l&accountId=1&sdkKey=k&attribute=a",
        b"accountId=1&attribute=a&listId=l&sdkKey=k",
        b"accountId=1&sdkKey=k&attribute=a&listId=l",
        b"attribute=a&accountId=1&sdkKey=k&listId=l",
        b"attribute=a&sdkKey=k&listId=l&accountId=1",
        b"sn=x&accountId=1&listId=l&attribute=a&sdkKey=k",
    ],
)
def test_parameters_may_come_in_any_order(query: bytes) -> None:
    question = read_question(query)
    assert question.readings[0] == b"a"
    assert question[1:] == ("l", "1", "k")


def test_an_account_before_the_list_id_may_belong_to_the_value() -> None:
    question = read_question(b"attribute=a&accountId=1&listId=l")
    assert question == Question([b"a", b"a&accountId=1"], "l", "1", None)


def test_a_list_id_before_the_value_is_the_genuine_one() -> None:
    question = read_question(b"listId=l&attribute=a&listId=other")
    assert question == Question([b"a&listId=other"], "l", None, None)


@pytest.mark.parametrize(
    ("query", "question"),
    [
        (b"", Question([], None, None, None)),
        (b"attribute=a", Question([b"a"], None, None, None)),
        (b"attribute=", Question([], None, None, None)),
        (b"attribute=&listId=l", Question([], "l", None, None)),
        (b"attribute=a&listId=", Question([b"a"], None, None, None)),
        (b"listId=l&accountId=1", Question([], "l", "1", None)),
        (b"attribute=a&listId=l&accountId=&sdkKey=", Question([b"a"], "l", None, None)),
        (b"myattribute=a&listId=l", Question([], "l", None, None)),
        (b"&&&=&%&", Question([], None, None, None)),
    ],
)
def test_what_is_missing_or_empty_is_none(query: bytes, question: Question) -> None:
    assert read_question(query) == question


@given(TEXT)
@example("a&listId=b")
@example("%41+é\x00中")
def test_whatever_was_percent_encoded_is_read_back(text: str) -> None:
    for encode in (quote, quote_plus, lambda value: quote(value, safe="")):
        question = read_question(f"attribute={encode(text)}&listId=l&accountId=1".encode())
        assert text.encode() in question.readings
        assert question[1:] == ("l", "1", None)


@given(LATIN_1)
@example("a&listId=b")
@example("José#1&accountId=2")
def test_whatever_node_sends_raw_is_read_back(text: str) -> None:
    raw = text.encode("latin-1")
    assume(readings_of(raw.replace(b"+", b"")) == readings_of(quote(raw.replace(b"+", b""), safe="").encode()))
    question = read_question(b"attribute=" + raw + b"&listId=l&accountId=1")
    assert text.encode() in question.readings
    assert question[1:3] == ("l", "1")


@given(st.binary())
def test_rubbish_is_read_without_an_error_and_every_reading_is_utf8(query: bytes) -> None:
    for reading in read_question(b"attribute=" + query).readings + read_question(query).readings:
        assert reading.decode().encode() == reading


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (b'["tmp1"]', [["tmp1"]]),
        (b'["tmp+1@x.com"]', [["tmp+1@x.com"]]),
        (b"[%22a&b%22]", [["a&b"]]),
        (b'["a&accountId=9"]', [["a&accountId=9"]]),
        (b'["a&userId=b"]', [["a&userId=b"]]),
        (b'["a]b"]', [["a]b"]]),
        (b'["100%"]', [["100%"]]),
        (b'["Jos\xe9"]', [["José"]]),
        ('["José"]'.encode(), [["José", "JosÃ©"]]),
        (b"%5B%22Jos%C3%A9%22%5D", [["José", "JosÃ©"]]),
        (b"%5b%22tmp%2B1%40x.com%22%5d", [["tmp+1@x.com", "tmp%2B1%40x.com"]]),
        (b'["a%40x.com"]', [["a%40x.com", "a@x.com"]]),  # who leaves " raw escapes no @
        (b"[%22a%41%20b%22]", [["a%41 b", "aA b"]]),
        (b'["a+b%2F"]', [["a+b%2F", "a b%2F", "a b/"]]),
        (b'["a+b"]', [["a+b", "a b"]]),
        (b'["a\\"b"]', [['a"b']]),
        (b'["a","b+c"]', [["a"], ["b+c"]]),
        (b"[1]", [["1"]]),
        (b"a+b@x.com", [["a+b@x.com"]]),
        (b"a&b", [["a&b"]]),
        (b"[a", [["[a"]]),
        (b"[]", []),
        (b"", []),
    ],
)
@pytest.mark.parametrize(
    "query",
    [b"accountId=1&sdkKey=k&userId=%b", b"userId=%b&accountId=1&sdkKey=k", b"accountId=1&userId=%b&sdkKey=k"],
)
def test_ids_are_read_as_the_sdks_write_them(query: bytes, value: bytes, ids: list[list[str]]) -> None:
    assert read_ids(query % value) == AskedIds(ids, "1", "k")


@pytest.mark.parametrize("value", [b"[%22a", b"%5B%22a", b'["a', b"[%22a%41"])
def test_a_list_that_a_hash_in_an_id_ended_is_told(value: bytes) -> None:
    asked = read_ids(b"accountId=1&sdkKey=k&userId=" + value)
    assert (len(asked.ids), asked[1:]) == (1, ("1", "k", True))


@given(TEXT)
@example("jane%40x.com")
@example("a%2Bb+c&userId=d#")
@example("100%")
def test_an_id_is_read_whether_all_of_it_was_encoded_or_what_fetch_encodes(text: str) -> None:
    listed = json.dumps([text], ensure_ascii=False)
    spelt = [quote(listed, safe="")]
    if not _ENCODED.search(text):  # nobody can tell those of an id from those of fetch
        spelt.append(quote(listed, safe="%[]!$&()*+,;=:@/?\\^`{|}"))
    for value in spelt:
        [readings] = read_ids(f"accountId=1&sdkKey=k&userId={value}".encode()).ids
        assert text in readings


@given(st.binary())
def test_no_query_for_ids_raises(query: bytes) -> None:
    for asked in (read_ids(query), read_ids(b"userId=" + query), read_ids(b"userId=[" + query + b"]&accountId=1")):
        assert all(text.encode() for readings in asked.ids for text in readings if text)
