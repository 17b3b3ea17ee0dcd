"""Templates into pages: everything is escaped, and nothing in a page runs, loads or frames anything of others."""

from __future__ import annotations

import functools
import json

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from shared.jobs.request import Start
from shared.text import duration, one_line, plain, utc
from shared.web.pages.chart import chart

if TYPE_CHECKING:
    from jinja2 import Environment

ROOT = "/api/status"
_LONGEST, _LONGEST_MESSAGE = 200, 2_000
"""Characters of a name or a value that are shown, and of an error or a note: it may be of any length."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer."""


class Page(NamedTuple):
    """An answer, before it is HTTP."""

    status: int
    body: bytes
    content_type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = HEADERS
    starts: Sequence[Start] = ()
    """Jobs to start before it is sent."""

    @property
    def http_headers(self) -> dict[str, str]:
        """All of them, with the type."""
        return {**self.headers, "Content-Type": self.content_type}


def page(template: str, status: int = 200, **shown: Any) -> Page:
    """What a template makes of *shown*."""
    return Page(status, _templates().get_template(template).render(root=ROOT, **shown).encode(errors="replace"))


def redirect(url: str, starts: Sequence[Start] = ()) -> Page:
    """On to a page of ours, once the jobs have been started."""
    return Page(303, b"", headers={**HEADERS, "Location": url}, starts=starts)


def json_page(value: Mapping[str, Any]) -> Page:
    """An answer to the script of the upload page."""
    return Page(200, json.dumps(value).encode(), "application/json")


def with_script(found: Page, storage: str) -> Page:
    """*found*, which may run our script, and may write files to the account of that origin; to none if it is empty."""
    policy = HEADERS["Content-Security-Policy"]
    allowed = f"{policy}; script-src 'self'; connect-src 'self' {storage}".rstrip()
    return found._replace(headers={**found.headers, "Content-Security-Policy": allowed})


FILES = {
    "style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml", "upload.js": "text/javascript; charset=utf-8",
}  # fmt: skip
"""What pages load, by name, with its type."""


def file(name: str) -> Page:
    """One of those."""
    return Page(200, Path(__file__).with_name(name).read_bytes(), FILES[name])


def link(path: str, **query: str | int) -> str:
    """The URL of a page, without what is empty.

    >>> link("feed", name="a.<b>", page=""), link("")
    ('/api/status/feed?name=a.%3Cb%3E', '/api/status')
    """
    given = urlencode({name: value for name, value in query.items() if value != ""}, errors="replace")
    return "".join((ROOT, f"/{path}" if path else "", f"?{given}" if given else ""))


def shown(value: object) -> str:
    """A name or value of others in one line, without what turns the direction of writing, and not too long."""
    return _cut(one_line(str(value)), _LONGEST)


def message(text: str) -> str:
    """An error or a note with its lines."""
    return _cut(plain(text), _LONGEST_MESSAGE)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


@functools.cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.filters |= {
        "shown": shown, "message": message, "utc": utc, "duration": duration, "chart": chart, "count": "{:,}".format,
    }  # fmt: skip
    found.globals["link"] = link
    return found
