"""Which tables are loaded from where: reads ``catalog/systems/*.toml``, one file per system.

A file names the system's source, options of all its tables (``defaults``), its tables, and the rule for tables that
are not declared (``undeclared``). Nothing here depends on a particular system.
"""

from __future__ import annotations

import tomllib

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from shared.catalog import api, schema
from shared.catalog.discovery import LISTED, FeedList, read_discovery, read_feed_list
from shared.catalog.lines import with_line
from shared.catalog.rules import read_section
from shared.declared import Layout
from shared.errors import ConfigError
from shared.model import MAIN, Feed
from shared.settings import Settings, zone
from shared.sources import KINDS
from shared.sources.tables import CHANGE_DELETED, CHANGE_VERSION, Discovery, FoundTable

__all__ = ["LISTED", "PACKAGED", "FeedList", "System", "read"]

PACKAGED = Path(__file__).with_name("systems")
"""The folder of catalog files that comes with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One source system and its tables."""

    name: str
    source: str
    client: str | None
    """The client of the exporting system whose data this is. None: the only one found."""
    tables: Mapping[str, Mapping[str, Any]]
    """Options of each declared table, defaults included."""
    undeclared: Mapping[str, Any] | None
    file: Path
    discovery: Discovery | None = None
    """Which tables of its database are feeds without being declared."""
    feed_list: FeedList | None = None
    """A table that lists feeds."""
    found_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the tables that these two find: the defaults."""
    found: tuple[FoundTable, ...] = ()
    """What they have found, once that was looked up (shared.pipeline.discovery)."""

    @property
    def looks_up(self) -> bool:
        """Whether it has feeds that are known only once its database, or a list, is read."""
        return self.discovery is not None or self.feed_list is not None

    def is_pulled(self, table: str) -> bool:
        """Whether a table is read by windows of cursor values; otherwise it is loaded from files."""
        return KINDS[self.tables.get(table, {}).get("source", self.source)].pulled

    def is_set_up(self, settings: Settings) -> bool:
        """Whether the setting is there that names where its tables are looked up."""
        return any(
            kind.discovers and getattr(settings.system(self.name), str(kind.setting)) is not None
            for kind in KINDS.values()
        )

    @property
    def exporting(self) -> bool:
        """Whether it writes folders of exports."""
        return KINDS[self.source].delivers == "exports"

    def feed(self, table: str, names: Sequence[str]) -> Feed:
        """The feed of *table*, whose source has columns *names*. ConfigError has the line to add if there is none."""
        schema.check_table_name(table)
        self._refuse_name_of_view(table)
        if table in self.tables:
            return self._feed(table, self.tables[table])
        rule = self._by_rule(table, names)
        if rule is None:
            raise ConfigError(
                f"table {table!r} is not in {self.file.name}, and its columns do not show its key",
                fix=f"Add under [tables] there: {self._line_to_add(table, names)}",
            )
        return self._feed(table, rule)

    def _refuse_name_of_view(self, table: str) -> None:
        """ConfigError for an undeclared table that is named like the view in which a declared one has its names."""
        references = self.tables.get(table.removesuffix(schema.NAMED), {}).get("references", {})
        shown = {name for name, options in self.tables.items() if options.get("display")}
        others = {".".join(key.split(".")[1:2]) for key in references.values() if key.startswith(f"{self.name}.")}
        if table.endswith(schema.NAMED) and table not in self.tables and shown & others:
            raise ConfigError(
                f"{table!r} is named like the view of {table.removesuffix(schema.NAMED)!r} that joins names in",
                fix=f"Take display from {', '.join(sorted(shown & others))} in {self.file.name} and drop that view, or"
                " rename the table",
            )

    def feeds(self) -> list[Feed]:
        """The declared feeds."""
        return [self._feed(table, options) for table, options in self.tables.items()]

    def destinations(self, table: str) -> tuple[str, ...]:
        """The warehouses, by name, that a table goes to, whether it is declared or not."""
        found: tuple[str, ...] = self.tables.get(table, self.undeclared or {}).get("destinations", (MAIN,))
        return found

    def all_destinations(self) -> list[str]:
        """The warehouses, by name, that any table goes to."""
        options = [*self.tables.values(), self.undeclared or {}, self.found_options if self.looks_up else {}]
        return list(dict.fromkeys(name for one in options for name in one.get("destinations", (MAIN,))))

    def with_settings(self, client: str | None, timezone: str | None) -> System:
        """This system, with the values of its settings instead of its file's."""
        tables = {name: _in_zone(options, timezone) for name, options in self.tables.items()}
        rule = _in_zone(self.undeclared, timezone) if self.undeclared else None
        found = _in_zone(self.found_options, timezone)
        return replace(self, client=client or self.client, tables=tables, undeclared=rule, found_options=found)

    def with_found(self, found: Sequence[FoundTable]) -> System:
        """This system, with the tables that were *found* and are not declared as feeds."""
        before = {one.table for one in self.found if one.skipped is None}
        declared = {table: options for table, options in self.tables.items() if table not in before}
        new = {
            one.table: {
                **_without_absent(self.found_options, one.columns, one.keys), "keys": one.keys, "cursor": one.cursor,
                "source_table": one.at_source,
                "references": {**one.references, **self.found_options.get("references", {})},
            }
            for one in found
            if one.skipped is None and one.table not in declared
        }  # fmt: skip
        return replace(self, tables={**declared, **new}, found=tuple(found))

    def with_layout(self, table: str, layout: Layout) -> System:
        """This system, where the files of a declared *table* are understood as *layout* says."""
        return replace(self, tables={**self.tables, table: {**self.tables[table], "layout": layout}})

    def with_types(self, table: str, types: Mapping[str, str]) -> System:
        """This system, where columns of *table* without a declared type are read as *types*."""
        feed = self.tables.get(table) or self._by_rule(table, list(types))
        if feed is None:
            return self
        declared = {column.casefold() for column in feed["types"]}
        others = {column: kind for column, kind in types.items() if column.casefold() not in declared}
        options = {**feed, "types": {**feed["types"], **others}, "undeclared_types": tuple(others)}
        return replace(self, tables={**self.tables, table: options})

    def _feed(self, table: str, options: Mapping[str, Any]) -> Feed:
        return Feed(system=self.name, table=table, **{"source": self.source, **options})

    def _by_rule(self, table: str, names: Sequence[str]) -> dict[str, Any] | None:
        if self.undeclared is None:
            return None
        rule = dict(self.undeclared)
        spelled = {name.casefold(): name for name in names}
        keys = [key.format(table=table).casefold() for key in rule["keys"]]
        required = [*keys, *(rule[option].casefold() for option in ("cursor", "deleted") if rule.get(option))]
        if not all(name in spelled for name in required):
            return None
        rule["keys"] = tuple(spelled[name] for name in keys)
        return rule

    def _line_to_add(self, table: str, names: Sequence[str]) -> str:
        key = next((name for name in names if name.casefold().endswith("id")), names[0] if names else "Id")
        parts = [f"keys = [{_quoted(key)}]"]
        for option in ("cursor", "deleted"):
            known = (self.undeclared or {}).get(option)
            if known and known.casefold() not in {name.casefold() for name in names}:
                parts.append(f"{option} = false")
        return f"{_quoted(table)} = {{ {', '.join(parts)} }}"


def read(folder: Path) -> dict[str, System]:
    """Every system in *folder*, by name. ConfigError names the file and everything that is wrong in it."""
    systems: dict[str, System] = {}
    for path in sorted(folder.glob("*.toml")):
        system = _system(path)
        if system.name in systems:
            raise ConfigError(
                f"{path.name}: system {system.name!r} is in {systems[system.name].file.name} too",
                fix="Declare a system in one file",
            )
        systems[system.name] = system
    if not systems:
        raise ConfigError(f"there is no catalog file in {folder}", fix="Set CATALOG_PATH to a folder of .toml files")
    return systems


def _system(path: Path) -> System:
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not TOML: {error}", fix=f"Correct {path}") from error
    problems: list[str] = []
    file = read_section("file", content, schema.FILE, problems)
    head = read_section("system", file.get("system", {}), schema.SYSTEM, problems)
    defaults = _Defaults.read(file.get("defaults", {}), head.get("source", ""), problems)
    feeds = {table: f"feed {file.get('system', {}).get('name')}.{table}" for table in file.get("tables", {})}
    tables = {
        table: defaults.with_api(
            feed, defaults.under(read_section(feed, file["tables"][table], schema.OPTIONS, problems)), problems
        )
        for table, feed in feeds.items()
    }
    rule = read_section("undeclared", file.get("undeclared", {}), schema.OPTIONS, problems)
    undeclared = defaults.under(rule) if rule else None
    discovery = read_discovery(file.get("discover"), problems)
    feed_list = read_feed_list(file.get("feed_list"), problems)
    if not problems:  # else an option that is wrong would be missed here
        problems = list(_problems_together(feeds, tables, undeclared, head["source"]))
    if problems:
        named = "; ".join(with_line(problem, text) for problem in problems)
        raise ConfigError(f"{path.name}, {named}", fix=f"Correct {path}")
    return System(
        name=head["name"], source=head["source"], client=head.get("client"), tables=tables, undeclared=undeclared,
        file=path, discovery=discovery, feed_list=feed_list,
        found_options=defaults.under({"source": "sql"}),
    )  # fmt: skip


class _Defaults(NamedTuple):
    """Options that tables have unless their own say otherwise: those of all, and those of tables of one source."""

    of_all: Mapping[str, Any]
    by_source: Mapping[str, Mapping[str, Any]]
    source: str
    """That of the system."""

    @classmethod
    def read(cls, section: Mapping[str, Any], source: str, problems: list[str]) -> _Defaults:
        """Of section ``[defaults]``, in which a section named as a source holds those of its tables."""
        of_all = {name: value for name, value in section.items() if name not in KINDS}
        by_source = {
            name: read_section(f"defaults.{name}", section[name], schema.OPTIONS, problems)
            for name in KINDS
            if name in section
        }
        return cls(read_section("defaults", of_all, schema.OPTIONS, problems), by_source, source)

    def under(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a table whose *own* ones go before these."""
        special = self.by_source.get(self._source_of(own), {})
        by_column = {
            name: {**self.of_all.get(name, {}), **special.get(name, {})} for name in ("types", "references", "api")
        }  # fmt: skip
        return _with_defaults({**self.of_all, **special, **by_column}, own)

    def with_api(self, entry: str, options: dict[str, Any], problems: list[str]) -> dict[str, Any]:
        """The options of a table, where what is said of its API is read."""
        source = self._source_of(options)
        section = options.pop("api")
        if source not in api.RULES:
            return {**options, "api": section} if section else options
        found = api.read(entry, source, section, problems)
        return {**options, "api": found, "types": api.with_cursor_type(options, found)}

    def _source_of(self, own: Mapping[str, Any]) -> str:
        return str(own.get("source") or self.of_all.get("source", self.source))


def _problems_together(
    feeds: Mapping[str, str],
    tables: Mapping[str, Mapping[str, Any]],
    undeclared: Mapping[str, Any] | None,
    source: str,
) -> Iterator[str]:
    for table, feed in feeds.items():
        yield from schema.table_problems(feed, table)
        yield from schema.option_problems(feed, tables[table])
        yield from schema.source_problems(feed, tables[table].get("source", source), tables[table])
        yield from schema.history_problems(feed, table, tables[table])
    if undeclared:
        yield from schema.rule_problems(undeclared)


def _with_defaults(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    types = {**defaults.get("types", {}), **own.get("types", {})}
    columns = own.get("columns", ())
    declared = {**defaults.get("references", {}), **own.get("references", {})}
    merged = {
        "types": {**{column.name: column.type for column in columns}, **types},
        "references": {**{column.name: column.references for column in columns if column.references}, **declared},
        "api": {**defaults.get("api", {}), **own.get("api", {})},
    }
    return _with_layout({**defaults, **_tracked(defaults, own), **own, **merged})


def _tracked(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The cursor and the deletion flag of a table whose changes the server tracks, in place of those of *defaults*."""
    if not own.get("change_tracking", defaults.get("change_tracking")):
        return {}
    return {"cursor": CHANGE_VERSION, "deleted": CHANGE_DELETED, "cursor_fallback": None}


def _with_layout(options: dict[str, Any]) -> dict[str, Any]:
    """*options*, with those of the layout as one."""
    parts = {name: options.pop(name) for name in schema.LAYOUT if name in options}
    if "columns" in parts:
        options["layout"] = Layout(**parts.pop("csv", {}), **parts)
    return options


def _without_absent(options: Mapping[str, Any], columns: Sequence[str], keys: Sequence[str]) -> dict[str, Any]:
    """*options*, without those that name a column which is none of *columns*; nothing is shown of several *keys*."""
    there = {column.casefold() for column in columns}
    by_column = ("deleted", "cursor_fallback")
    found = {name: value for name, value in options.items() if name not in by_column or str(value).casefold() in there}
    shown = [name for name in options.get("display", ()) if name.casefold() in there and len(keys) == 1]
    return {**found, "display": tuple(shown)}


def _in_zone(options: Mapping[str, Any], timezone: str | None) -> Mapping[str, Any]:
    return {**options, "timezone": zone(timezone)} if timezone else options


def _quoted(text: str) -> str:
    import json

    # A TOML basic string takes JSON's escapes, and no DEL as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
