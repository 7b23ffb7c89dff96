"""IP addresses as SDKs and proxies write them: bare, with a port, in brackets."""

from __future__ import annotations

import re

_WITH_MORE = re.compile(r'"?(?:\[([0-9A-Fa-f:.%\w]+)\](?::\d+)?|([0-9.]+):\d+)"?', re.ASCII)


def bare_address(text: str) -> str:
    """The address in `text`, without port, brackets and blanks; else `text` without blanks, whatever it holds.

    Azure's and IIS's proxies always add the port: `203.0.113.9:55220`, `[2001:db8::1]:443`.
    """
    text = text.strip()
    found = _WITH_MORE.fullmatch(text)
    return (found[1] or found[2]) if found else text
