"""h11's patterns of header lines and chunk headers, without backtracking that is quadratic in a run of blanks.

httpx reads answers with h11 0.16, which tries every way to share blanks between two patterns that follow each other,
and then refuses the line: 64 kB of blanks and a zero byte hold up the event loop for 20 s, and no timeout runs
meanwhile. Here the same lines match, and the others fail at once.
"""

from __future__ import annotations

import re

from h11 import _abnf, _readers


def make_linear() -> None:
    """Every h11 connection of this process reads so from now on. Calling it again changes nothing."""
    blanks = _abnf.OWS
    header = _abnf.header_field.replace(f":{blanks}", f":{blanks}+", 1)  # possessive: it gives none back
    # What follows `;` takes the blanks in front of the line's end, too.
    before = f"(?P<chunk_ext>{_abnf.chunk_ext})?{blanks}"
    chunk = _abnf.chunk_header.replace(before, f"(?:(?P<chunk_ext>{_abnf.chunk_ext})|{blanks})", 1)
    _readers.header_field_re = re.compile(header.encode("ascii"))
    _readers.chunk_header_re = re.compile(chunk.encode("ascii"))
