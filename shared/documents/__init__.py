"""The app's private container: webhook payloads, plans and outcomes of jobs, what operators requested.

Small documents by name, each written whole. What one step leaves for another lies here when it is too large, or too
secret, to travel in an orchestration (the claim check pattern).
"""

from __future__ import annotations

import json

from collections.abc import Iterator
from typing import NamedTuple, Protocol
from urllib.parse import quote

from shared.model import Json
from shared.settings import Settings


class DocumentEntry(NamedTuple):
    """A document as a listing shows it."""

    name: str
    modified: float
    """Seconds since 1970."""


class Documents(Protocol):
    """Documents by name, with ``/`` between its parts, none of them empty. Every call may be repeated."""

    def get(self, name: str) -> bytes | None:
        """The document, or None if there is none."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Write the document, over an earlier one."""
        ...

    def add(self, name: str, content: bytes) -> bool:
        """Write the document if there is none, and say whether that was so: of several callers one wins."""
        ...

    def entries(self, prefix: str) -> Iterator[DocumentEntry]:
        """The documents whose name begins with *prefix*, in the order of their names."""
        ...

    def delete(self, name: str) -> None:
        """Remove the document; nothing if there is none."""
        ...


def open_documents(settings: Settings) -> Documents:
    """The container, or local folder, that STATE_URL names. Nothing is asked of it yet."""
    if "://" in settings.state_url and not settings.state_url.startswith("file://"):
        from shared.documents import blob

        return blob.open_documents(settings)
    from shared.documents import local

    return local.open_documents(settings)


def quoted(name: str) -> str:
    """*name* as a path in which no part has a meaning of its own: percent-encoded, dots at the start of a part too.

    >>> quoted("feeds/../what?"), quoted("jobs/blob:1/a.b")
    ('feeds/%2E./what%3F', 'jobs/blob%3A1/a.b')
    """
    parts = (quote(part, safe="") for part in name.split("/"))
    return "/".join(f"%2E{part[1:]}" if part.startswith(".") else part for part in parts)


def read_json(state: Documents, name: str) -> Json:
    """The JSON in a document; None if there is none."""
    content = state.get(name)
    return None if content is None else json.loads(content)


def to_json(value: Json) -> bytes:
    """*value* as the content of a document."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
