"""Notifications that a webhook accepted: what they say, and where they are kept until all their files are loaded."""

from __future__ import annotations

import datetime as dt
import hashlib
import json

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from urllib.parse import unquote, urlsplit

from shared.azure import sas
from shared.documents import DocumentEntry, Documents
from shared.errors import ConfigError
from shared.model import Kind, from_json
from shared.sources.exports.layout import export_path

_PREFIX = "notices/"
"""Of the documents: the name they have had since the first release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where to download one file."""

    name: str
    """What the notification calls the file. It is part of no path."""
    url: str = field(repr=False)
    """With its signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One export, and the links to its files."""

    client: str
    kind: Kind
    exported_at: str
    """Text of records (shared.model.to_text)."""
    links: tuple[Link, ...]
    """In the order of their names."""

    @property
    def id(self) -> str:
        """32 hex digits: the same for each notification of the same files of the same export, however it is signed."""
        parts = ["notice", self.client, self.kind, self.exported_at, *(link.name for link in self.links)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    @property
    def title(self) -> str:
        """The export it is about, for people."""
        return f"export {self.kind.capitalize()} of {self.client}, {self.exported_at[:16].replace('T', ' ')}"

    @property
    def expires(self) -> dt.datetime | None:
        """When the last of the links expires (aware, UTC); None if none says so."""
        return max((end for link in self.links if (end := sas.link_expiry(link.url))), default=None)

    @property
    def tables(self) -> list[tuple[str, Sequence[Link]]]:
        """The links of each table, in order: one file, or all part files of a dump, which only their path tells."""
        tables: dict[str, list[Link]] = {}
        for link in self.links:
            path = export_path(unquote(urlsplit(link.url).path).lstrip("/"))
            table = path.table if path and path.part else link.name[: -len(".parquet")].lower()
            tables.setdefault(table, []).append(link)
        return sorted(tables.items())


class Notifications:
    """The notifications that are kept, each a document of the app's own container. They hold signatures."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def keep(self, notification: Notification) -> None:
        self._documents.put(f"{_PREFIX}{notification.id}", json.dumps(asdict(notification)).encode())

    def read(self, id: str) -> Notification:
        """The notification of that id. ConfigError once it is no longer stored."""
        content = self._documents.get(f"{_PREFIX}{id}")
        if content is None:
            raise ConfigError(f"notification {id} is no longer kept", fix="Ask the sender for a new one")
        return from_json(Notification, json.loads(content))

    def kept(self) -> Iterator[tuple[str, DocumentEntry]]:
        """The ids of all that are kept, each with its document."""
        for entry in self._documents.entries(_PREFIX):
            yield entry.name.removeprefix(_PREFIX), entry

    def remove(self, id: str) -> None:
        self._documents.delete(f"{_PREFIX}{id}")
