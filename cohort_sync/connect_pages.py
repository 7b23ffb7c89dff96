"""The pages that a browser sees when Heap sends it back: plain HTML, nothing that runs or loads."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from fastapi.responses import HTMLResponse

from foundation.errors import UnavailableError
from foundation.web import RETRY_AFTER_SECONDS

_STYLE = (
    ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;"
    "padding:0 1rem}h1{font-size:1.4rem}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

# The address of these pages holds the code and the state: no cache keeps it, no link passes it on.
PRIVATE_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}

_HEADERS = PRIVATE_HEADERS | {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}


def page(status: int, title: str, *paragraphs: str) -> HTMLResponse:
    """A page of texts; each is escaped."""
    shown = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{shown}</body></html>\n"
    )
    headers = _HEADERS
    if status == UnavailableError.status:
        headers = headers | {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return HTMLResponse(text, status_code=status, headers=headers)
