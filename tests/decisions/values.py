"""Values that conditions and users are made of: ordinary ones, that meet each other often, and hostile ones."""

from __future__ import annotations

from random import Random
from typing import Any

LISTS = {
    "heap_premium": ["alice", "5", "true", "null", "", "a,b", "José"],
    "67c858b8b8556:1741183160": ["alice", "1.5"],
}

NAMES = ("plan", "age", "city", "email", "beta")
ODD_NAMES = ("_vwoUserId", "__proto__", "undefined", "1", "", "toString", "é", "constructor")

TEXTS = ("alice", "Alice", "bob", "abc", "ab", "a", "5", "10", "1.5", "1.10", "1.2.3", "10.0.0", "100", "0", "true", "")
ODD_TEXTS = (
    *(
        " ",
        " alice ",
        '"alice"',
        '"',
        '""',
        "José",
        "JOSÉ",
        "jose\u0301",
        "😀",
        "a😀b",
        "İ",
        "ß",
        "ẞ",
        "ΑΣ",
        "ας",
        "\u017f",
        "\ufeffalice",
    ),
    *(
        "a\nb",
        "a\u2028b",
        "\r",
        "-5",
        "+5",
        "5.",
        ".5",
        ".",
        "..",
        "5..1",
        "05",
        "5e3",
        "0x10",
        "NaN",
        "Infinity",
        "null",
        "undefined",
    ),
    *(
        "1e21",
        "1" * 22,
        "9" * 400,
        "0.0000001",
        "12345678901234567890",
        "1.0",
        "1.00",
        "٣",
        "²",
        "a b",
        "a&b",
        "a%20b",
        "100%",
        "%41",
    ),
    *(
        "lower(alice)",
        "inlist(heap_premium)",
        "*",
        "**",
        "a*",
        "(",
        ")",
        "[",
        "\\",
        "\ud83d",
        "\x85a",
        "\x1ca",
        "[object Object]",
    ),
)
NUMBERS = (5, 10, 1, 0, 100, 1.5, 5.0, -5, 4.99, 18, 21)
ODD_NUMBERS = (
    1e21,
    1e-7,
    123456789012345678901234,
    2**53 + 1,
    -0.0,
    0.1 + 0.2,
    1e300,
    -1e-10,
    123456789.125,
    5e-324,
    1.7e308,
)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    [1, 2],
    ["a", None, [True, "b"]],
    {},
    {"a": 1},
    {"toString": 1},
    [{}],
    ["alice"],
)

COMPARED = (
    "5",
    "5.0",
    "4.99",
    "10",
    "1.2",
    "1.2.3",
    "1.10",
    "0",
    ".5",
    "100",
    "18",
    "0.0",
    "005",
    "12345678901234567890",
)
PATTERNS = (
    *(
        "alice",
        "^a",
        "e$",
        "^alice$",
        ".",
        "^.$",
        "^..$",
        "[a-c]+",
        "^[^a]",
        "\\d+",
        "^\\d$",
        "\\w",
        "\\s",
        "\\S",
        "\\bb",
        "a|b",
        "(a)(b)?",
    ),
    *(
        "",
        "^$",
        "a{2}",
        "a{1,2}b",
        "a{,2}",
        "{",
        "}",
        "a{",
        "]",
        "[]",
        "[^]",
        "[]a",
        "(",
        ")",
        "*",
        "a**",
        "a++",
        "a+?",
        "(?i)a",
        "(?:a|b)c",
    ),
    *(
        "(?=a)a",
        "(?!a)",
        "(?<=a)b",
        "(?<!a)b",
        "(?<=a|bc)d",
        "(?<x>a)\\k<x>",
        "\\k<x>",
        "(?P<x>a)",
        "(a)\\1",
        "\\1",
        "(a)|\\1b",
        "\\8",
        "\\0",
    ),
    *(
        "\\u0061",
        "\\u{61}",
        "\\x61",
        "\\x6",
        "\\cA",
        "\\c",
        "\\A",
        "\\Z",
        "\\z",
        "[\\d-x]",
        "[a-\\d]",
        "[z-a]",
        "[\\b]",
        "[[a]]",
        "[a&&b]",
        "é",
    ),
    *(
        "É",
        "😀",
        "[😀]",
        "^[😀]$",
        "\ud83d",
        "\\ud83d",
        "\\p{L}",
        "a.b",
        "^5",
        "1",
        "5",
        "\\.",
        "(?#x)a",
        "(?>a)",
        "(a*)*b",
        "\\/",
        "a\\",
        "(?=a)*",
    ),
    *(
        "^*",
        "\\b+",
        "(?<=a)*",
        "x*",
        "(?:)",
        "\\-",
        "[\\w.]+@",
        "\\07",
        "\\101",
        "\\400",
        "(?<$>a)",
        "(?<a>.)(?<a>.)",
        "(?<1>a)",
    ),
)
PATTERN_TOKENS = (
    *(
        "a",
        "b",
        "l",
        "e",
        "1",
        "é",
        "😀",
        "-",
        " ",
        ".",
        "^",
        "$",
        "|",
        "(",
        ")",
        "(?:",
        "(?=",
        "(?!",
        "(?<=",
        "(?<!",
        "(?<n>",
    ),
    *(
        "[",
        "]",
        "[^",
        "[a-",
        "?",
        "??",
        "{1}",
        "{1,2}",
        "{2}?",
        "{0,1}",
        "{",
        "}",
        "{,1}",
        "\\1",
        "\\2",
        "\\k<n>",
        "\\b",
        "\\B",
    ),
    *(
        "\\d",
        "\\D",
        "\\w",
        "\\W",
        "\\s",
        "\\S",
        "\\u0061",
        "\\x",
        "\\c",
        "\\0",
        "\\",
        "\\)",
        "\\]",
        "a)",
        "b)",
        "(a",
        "(b)",
    ),
)
INLISTS = (
    *("inlist(heap_premium)", "inlist(67c858b8b8556:1741183160)", "inlist(unknown)"),
    *(
        "inlist()",
        "inlist",
        "inlist(heap_premium",
        "notinlist(heap_premium)x",
        "lower(inlist(heap_premium))",
        "inlist(a)inlist(b)",
    ),
)
BROKEN_OPERANDS = (
    *("lower(", "gt(x)", "gt(-1)", "regex(", "wildcard()", "lower(a)b)c", "gt(5)x", " gt(5)", "lower(a\n)"),
)
ODD_OPERANDS: tuple[Any, ...] = (5, None, True, ["alice"], ["inlist"], [], {}, {"a": "b"}, 1.5, ["5", 6])

USER_AGENTS = ("Mozilla/5.0 (Macintosh) Chrome/120.0", "curl/8.1", "%41gent", "100%", "5.0", "a%C3%A9", "%ff", "é")
ADDRESSES = ("203.0.113.9", "10.0.0.1", "1.2.3", "5", "", "::1")
PLACES = {"country": ("United States", "France"), "region": ("California", "Texas"), "city": ("San Francisco", "Paris")}
DEVICES = {
    "os": ("macOS", "windows"),
    "browser_string": ("Chrome", "firefox"),
    "device_type": ("desktop", "Mobile"),
    "device": ("Other", "iPhone"),
}
VERSIONS = ("10.15.7", "10.15", "120.0.0.0", "120", "5", "")


class Chance(Random):
    """Draws with a share of hostile values, `oddness` of them."""

    def __init__(self, seed: int | str) -> None:
        super().__init__(seed)
        self.oddness = self.choice((0.0, 0.0, 0.05, 0.3))

    def odd(self) -> bool:
        return self.random() < self.oddness

    def one_in(self, count: int) -> bool:
        return self.randrange(count) == 0

    def text(self) -> str:
        return self.choice(ODD_TEXTS if self.odd() else TEXTS)

    def name(self) -> str:
        return self.choice(ODD_NAMES if self.odd() else NAMES)

    def value(self) -> Any:
        if self.odd():
            return self.choice((*ODD_VALUES, *ODD_NUMBERS, *ODD_TEXTS))
        return self.choice((*TEXTS, *NUMBERS, True, None))

    def user_id(self) -> str:
        return (
            self.choice(("0", "é", "😀", "a b", "x" * 100, "\ud83d", "\ude00x", "'\""))
            if self.odd()
            else f"u{self.randrange(1000)}"
        )
