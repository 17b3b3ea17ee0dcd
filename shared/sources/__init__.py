"""Where data comes from. One module or package per kind of source, one row each in ``KINDS``; none knows another."""

from __future__ import annotations

import importlib

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, cast

from shared.contract.codes import Code
from shared.errors import ConfigError
from shared.model import Feed, Finding, Slice, Unit
from shared.text import counted

if TYPE_CHECKING:
    import datetime as dt

    import pyarrow as pa

    from shared.settings import Settings
    from shared.sources.tables import DatabaseTable


class SourceKind(NamedTuple):
    """A kind of source that a system of the catalog can have."""

    module: str
    """Where it is implemented; imported when it is opened. A pulled kind has ``open_source(feed, settings)`` there."""
    delivers: Literal["exports", "text", "windows"]
    """Folders of exported Parquet files, text files one by one, or rows by windows of cursor values."""
    setting: str | None = None
    """The field of ``SystemSettings`` without which a system of this kind cannot be read."""

    discovers: bool = False
    """Whether it is a database: then ``database_tables``, ``table_rows`` and ``ping`` are in the module."""

    infers: bool = False
    """Whether its column types follow from the values that are there, and so may differ from run to run."""
    own_settings: bool = False
    """Whether what it needs depends on the feed: ``missing(feed, settings)`` in the module names what is not set."""
    in_pieces: bool = False
    """Whether the read of a slice may be cut, see ``Source.read``."""
    probes: bool = False
    """Whether it can show a first page: then ``probe(feed, settings)`` is in the module."""

    @property
    def pulled(self) -> bool:
        """Whether it is read by windows of cursor values. The others deliver files."""
        return self.delivers == "windows"


KINDS: dict[str, SourceKind] = {
    "exports": SourceKind("shared.sources.exports", delivers="exports"),
    "csv": SourceKind("shared.sources.csv", delivers="text"),
    "sql": SourceKind("shared.sources.sql", delivers="windows", setting="database_url", discovers=True),
    "rest": SourceKind(
        "shared.sources.rest", delivers="windows", infers=True, own_settings=True, in_pieces=True, probes=True
    ),
    "odata": SourceKind("shared.sources.odata", delivers="windows", own_settings=True, in_pieces=True, probes=True),
    "hubspot": SourceKind("shared.sources.hubspot", delivers="windows", own_settings=True, in_pieces=True),
}


def is_set_up(feed: Feed, settings: Settings) -> bool:
    """Whether the setting is there that names where *feed* is read. The catalog has systems that not everyone uses."""
    return not missing_settings(feed, settings)


def missing_settings(feed: Feed, settings: Settings) -> list[str]:
    """The settings that are not there, and without which *feed* cannot be read."""
    kind = KINDS[feed.source]
    if kind.own_settings:
        return list(_module(feed.source).missing(feed, settings))
    if kind.setting is None or getattr(settings.system(feed.system), kind.setting) is not None:
        return []
    return [f"{feed.system.upper()}_{kind.setting.upper()}"]


def probe(feed: Feed, settings: Settings) -> Probe:
    """What the first page of *feed* has, and what is unsure of it.

    ConfigError if its kind of source has no pages, or a setting is missing; else as the API answers.
    """
    if not KINDS[feed.source].probes:
        kinds = " or ".join(f'"{name}"' for name, kind in KINDS.items() if kind.probes)
        raise ConfigError(
            f"feed {feed.name} is of source {feed.source!r}, which has no probe", fix=f"Choose a feed of source {kinds}"
        )
    return cast("Probe", _module(feed.source).probe(feed, settings))


def examine_source(
    feeds: Sequence[Feed], settings: Settings, now: Callable[[], dt.datetime], rate: Callable[[str], float | None]
) -> Iterator[Finding]:
    """Whether what *feeds* are read from fits them; they are of one system and of one kind, which is pulled.

    *now* is the time, aware; *rate* says how many rows a second the runs of a feed read so far, if it is known.
    """
    first = feeds[0]
    kind, check = KINDS[first.source], f"source {first.system}"
    if names := missing_settings(first, settings):
        are, them = ("is", "it") if len(names) == 1 else ("are", "them")
        fix = f"Set {them} to sync {counted(len(feeds), 'table')}"
        yield Finding(check, "skipped", f"{', '.join(names)} {are} not set", fix)
        return
    examine = getattr(importlib.import_module(kind.module), "examine", None)
    if examine is not None:
        yield from examine(feeds, settings, now, rate)


def ping_database(system: str, kind: str, settings: Settings) -> None:
    """Return once the database of *system*, whose setting is there, has answered; an error of ours if it does not."""
    _module(kind).ping(system, settings)


def open_pull_source(feed: Feed, settings: Settings) -> PullSource:
    """The source of *feed*. No connection is made yet.

    ConfigError if a setting is missing or wrong, or if feeds of this kind are files and have no windows.
    """
    kind = KINDS[feed.source]
    if not kind.pulled:
        pulled = ", ".join(name for name, known in KINDS.items() if known.pulled)
        raise ConfigError(
            f"feed {feed.name} has source {feed.source!r}, which delivers files and cannot be synced",
            fix=f"Load its files, or choose one of {pulled} as the source of system {feed.system!r} in the catalog",
        )
    return cast("PullSource", _module(feed.source).open_source(feed, settings))


def open_pull_sources(feeds: Sequence[Feed], settings: Settings) -> list[PullSource]:
    """The sources of several *feeds* of one system; those of one kind share connections, if their kind does that."""
    opened: dict[str, PullSource] = {}
    for kind in dict.fromkeys(feed.source for feed in feeds):
        alike = [feed for feed in feeds if feed.source == kind]
        together = getattr(_module(kind), "open_sources", None)
        sources = together(alike, settings) if together else [open_pull_source(feed, settings) for feed in alike]
        opened |= {feed.name: source for feed, source in zip(alike, sources, strict=True)}
    return [opened[feed.name] for feed in feeds]


def database_tables(system: str, kind: str, settings: Settings, patterns: Sequence[str]) -> list[DatabaseTable]:
    """The tables that *patterns* (see ``Discovery``) name, in the source of *system*.

    ConfigError or TransientError if it cannot be reached, or must not be read.
    """
    found: list[DatabaseTable] = _module(kind).database_tables(system, settings, patterns)
    return found


def table_rows(system: str, kind: str, settings: Settings, table: str) -> tuple[list[str], list[Sequence[Any]]]:
    """The columns and all rows of a small *table* in the source of *system*. ConfigError if it is not there."""
    found: tuple[list[str], list[Sequence[Any]]] = _module(kind).table_rows(system, settings, table)
    return found


def _module(kind: str) -> Any:
    return importlib.import_module(KINDS[kind].module)


class Probe(NamedTuple):
    """The first page of an API, for whoever declares it."""

    call: str
    """What was called, without secrets."""
    status: int
    records: int
    columns: Sequence[ProbedColumn]
    remarks: Sequence[str]
    """What is unsure, or wrong, one sentence each."""


class ProbedColumn(NamedTuple):
    name: str
    type: str
    """Column type that a table would have; ``null``: no value shows it."""
    filled: int
    """Records with a value."""
    example: str


class Described(NamedTuple):
    """What a source knows of a unit before reading it."""

    schemas: Mapping[str, pa.Schema]
    """By the name of the file or table; never empty."""
    slices: Sequence[Slice]
    faulty: Mapping[str, str]
    """Part files that cannot be read at all, with the error of each. The others are loaded without them."""


class BadRecord(NamedTuple):
    """A record that cannot be read as a row."""

    place: str
    """Where it is, for people."""
    code: Code
    reason: str
    raw: str
    """Its text, as JSON: an object with the text under ``RAW``."""


Read: TypeAlias = "pa.RecordBatch | Sequence[BadRecord] | Slice"
"""What reading a slice gives, see ``Source``."""

RAW = "raw record"
"""Name of the text of a bad record, among the names of columns."""


class Source(Protocol):
    """Reads units of work. Reading the same slice twice gives the same rows in the same order."""

    def describe(self, unit: Unit) -> Described:
        """Columns and slices of *unit*. DataError if nothing of it can be read."""
        ...

    def read(self, part: Slice) -> Iterator[Read]:
        """The rows of one slice in file order, batch by batch, and between batches the records that are none.

        A slice among them says that the read may be cut there: that slice is the rest, read by this process or another
        one. Only a source whose units are one slice has such places. DataError or ConflictError, also after some
        batches.
        """
        ...


class Ceiling(NamedTuple):
    """The upper end of a window."""

    value: str
    """Cursor text."""
    more: bool
    """Whether the source has rows beyond it already."""
    whole: bool = False
    """Whether all rows up to it have to be read, because the source does not know which of them are new."""
    note: str | None = None
    """What an operator should know of the window: rows that the source no longer has."""


class PullSource(Source, Protocol):
    """A source read by windows of cursor values instead of files."""

    def ceiling(self, after: str | None) -> Ceiling | None:
        """The upper end of the next window when everything up to the cursor text *after* is loaded; None: no rows.

        If there are rows above *after*, it takes about as many as one run should; rows with the same cursor stay
        together. Otherwise it is the highest cursor there is.
        """
        ...

    def newest(self) -> str | None:
        """The highest cursor there is, as cursor text; None if no row has one."""
        ...

    def peek(self, unit: Unit, most: int) -> Sequence[pa.RecordBatch] | None:
        """The rows of *unit* as ``read`` gives them, by one query; None if there are more than *most*."""
        ...

    def close(self) -> None:
        """Give back what it has open, and what sources share that were opened together with it."""
        ...
