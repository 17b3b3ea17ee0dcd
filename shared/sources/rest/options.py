"""What the catalog says of one list of an API, as it is used: the call that reads it, and what its records mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.contract.conform import folded
from shared.model import Feed
from shared.rest import instants
from shared.rest.client import Call
from shared.rest.pages import Paging
from shared.rest.rows import Record, as_text, at, without

EXTRA = "Extra"
"""The column that keeps, as JSON, what no declared column takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """One list of an API."""

    path: str
    method: Literal["GET", "POST"] = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    parameters_in: Literal["query", "body"] = "query"
    records: str = ""
    paging: Paging = field(default_factory=Paging)
    since: Mapping[str, str] | None = None
    """The parameter that limits the list to what changed since a cursor, and how it is written."""
    cursor_format: str = "iso"
    lag_seconds: int = 0
    """How far windows stay behind the API's time."""
    retention_days: int | None = None
    """After how many days the API forgets a record."""
    columns: Literal["found", "declared"] = "found"
    nested: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    """Where the values of columns are; of several places the first that has one."""
    without: Sequence[str] = ()
    """Fields that are secret: they are left out, however deep they are."""
    child: Mapping[str, Any] | None = None
    workers: int = 4

    @classmethod
    def of(cls, feed: Feed) -> ListOptions:
        known = {name: value for name, value in feed.api.items() if name in cls.__dataclass_fields__}
        return cls(**{**known, "paging": Paging(**feed.api.get("paging", {}))})

    def call(self, since: str | None) -> Call:
        """The call of the list from cursor text *since* on, where it can be limited so."""
        given = dict(self.parameters)
        if self.since is not None and since is not None:
            form = self.since.get("format", self.cursor_format)
            given[self.since["parameter"]] = instants.written(since, form)
        return Call(
            path=self.path, method=self.method, headers=self.headers, parameters=given, body=self.body,
            in_body=self.parameters_in == "body",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rows:
    """Makes rows of records: what is nested, what belongs to a parent, and what a cursor is."""

    feed: Feed
    options: ListOptions

    def of(self, records: Sequence[Record]) -> list[Record]:
        """The rows of *records*."""
        if self.options.without:
            records = without(records, frozenset(self.options.without))
        child = self.options.child
        if child is not None:
            records = [row for record in records for row in self._children(record, child)]
        if self.options.nested:
            records = [self._picked(record) for record in records]
        if self.feed.cursor and self.options.cursor_format in ("epoch_s", "epoch_ms"):
            records = [self._with_instant(record, self.feed.cursor) for record in records]
        return list(records)

    def cursor(self, row: Record) -> Any:
        """The value of the cursor of *row*, as ``instants.parse`` has it."""
        value = row.get(self.feed.cursor or "")
        if not isinstance(value, str | int | float) and value is not None and not hasattr(value, "as_tuple"):
            return value  # an instant already
        return instants.parse(value, self.options.cursor_format, self.feed.timezone)

    def declared(self, rows: Sequence[Record]) -> list[Record]:
        """*rows* with the declared columns alone, and the rest of each as one text in EXTRA."""
        known = {folded(name): name for name in self.feed.types}
        return [self._split(row, known) for row in rows]

    @property
    def has_extra(self) -> bool:
        return folded(EXTRA) not in {folded(name) for name in self.feed.types}

    def _split(self, row: Record, known: Mapping[str, str]) -> Record:
        mine = {known[folded(name)]: value for name, value in row.items() if folded(name) in known}
        if self.has_extra:
            rest = {name: value for name, value in row.items() if folded(name) not in known and value is not None}
            mine[EXTRA] = as_text(rest) if rest else None
        return mine

    @staticmethod
    def _children(record: Record, child: Mapping[str, Any]) -> list[Record]:
        found = at(record, child["at"])
        parent = {name: at(record, path) for name, path in child.get("parent", {}).items()}
        elements = found if isinstance(found, list) else [found] if found is not None else []
        return [{**(one if isinstance(one, dict) else {"value": one}), **parent} for one in elements]

    def _picked(self, record: Record) -> Record:
        """*record* with what is nested in it; a field that is picked whole has its new name alone."""
        picked = {name: [one] if isinstance(one, str) else one for name, one in self.options.nested.items()}
        moved = {path for paths in picked.values() for path in paths} - picked.keys()
        kept = {name: value for name, value in record.items() if name not in moved}
        found = {name: (at(record, path) for path in paths) for name, paths in picked.items()}
        return {**kept, **{name: next((one for one in ones if one is not None), None) for name, ones in found.items()}}

    def _with_instant(self, record: Record, cursor: str) -> Record:
        return {**record, cursor: instants.parse(record.get(cursor), self.options.cursor_format)}
