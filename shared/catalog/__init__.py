"""What we keep in step: reads and checks ``catalog/systems/*.toml``, one file a system.

A system names its source, what holds for all its tables (``defaults``), its tables, and the rule by which a
table nobody declared is taken (``undeclared``). Nothing here knows a particular system.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from shared.contract.cursor import CURSOR_TYPES
from shared.contract.types import parse as parse_type
from shared.errors import ConfigError
from shared.model import Feed
from shared.settings import zone
from shared.sources import KINDS, is_pulled

PACKAGED = Path(__file__).with_name("systems")
"""The folder of catalog files that comes with the package."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED = ("information_schema", "ingest", "temp")
_LONGEST_TABLE = 63 - len("_active")


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One source system and its tables."""

    name: str
    source: str
    client: str | None
    """The one client of the exporting system whose data this is; None: the only one found."""
    tables: Mapping[str, Mapping[str, Any]]
    """Options of each declared table, defaults included."""
    undeclared: Mapping[str, Any] | None
    file: Path

    @property
    def pulled(self) -> bool:
        """Whether its feeds are read by windows of cursor values; otherwise they are loaded from files."""
        return is_pulled(self.source)

    def feed(self, table: str, names: Sequence[str]) -> Feed:
        """The feed of *table*, whose source has columns *names*. ConfigError, with the line to add, if it has none."""
        _check_table_name(table)
        if table in self.tables:
            return self._feed(table, self.tables[table])
        rule = self._ruled(table, names)
        if rule is None:
            raise ConfigError(
                f"table {table!r} is not in {self.file.name}, and its columns do not tell its key",
                fix=f"Add under [tables] there: {self._line_to_add(table, names)}",
            )
        return self._feed(table, rule)

    def feeds(self) -> list[Feed]:
        """The declared feeds."""
        return [self._feed(table, options) for table, options in self.tables.items()]

    def told(self, client: str | None, timezone: str | None) -> System:
        """This system, with what the settings say of it over what its file says."""
        tables = {name: _in_zone(options, timezone) for name, options in self.tables.items()}
        rule = _in_zone(self.undeclared, timezone) if self.undeclared else None
        return replace(self, client=client or self.client, tables=tables, undeclared=rule)

    def typed(self, table: str, types: Mapping[str, str]) -> System:
        """This system, with the column types of *table* as given."""
        names = list(types)
        feed = self.tables.get(table) or self._ruled(table, names)
        return replace(self, tables={**self.tables, table: {**feed, "types": dict(types)}}) if feed else self

    def _feed(self, table: str, options: Mapping[str, Any]) -> Feed:
        return Feed(system=self.name, table=table, source=self.source, **options)

    def _ruled(self, table: str, names: Sequence[str]) -> dict[str, Any] | None:
        if self.undeclared is None:
            return None
        rule = dict(self.undeclared)
        spelled = {name.casefold(): name for name in names}
        wanted = [key.format(table=table).casefold() for key in rule["keys"]]
        needed = [*wanted, *(rule[option].casefold() for option in ("cursor", "deleted") if rule.get(option))]
        if not all(name in spelled for name in needed):
            return None
        rule["keys"] = tuple(spelled[name] for name in wanted)
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
    """Every system in *folder*, by name. ConfigError names file, feed and reason of the first wrong entry."""
    systems: dict[str, System] = {}
    for path in sorted(folder.glob("*.toml")):
        system = _system(path)
        if system.name in systems:
            raise ConfigError(
                f"{path.name}: system {system.name!r} is in {systems[system.name].file.name} too", fix=_ONE
            )
        systems[system.name] = system
    if not systems:
        raise ConfigError(f"there is no catalog file in {folder}", fix="Set CATALOG_PATH to a folder of .toml files")
    return systems


_ONE = "Declare a system in one file"


def _system(path: Path) -> System:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not TOML: {error}", fix="Mend it there") from error
    where = _Where(path, "system")
    where.only(content, {"system", "defaults", "undeclared", "tables"})
    head = where.table(content, "system")
    where.only(head, {"name", "source", "client"})
    defaults = _options(_Where(path, "defaults"), where.table(content, "defaults"))
    tables = {}
    for name, entry in where.table(content, "tables").items():
        feed = _Where(path, f"feed {head.get('name')}.{name}")
        tables[name] = _complete(feed, defaults, _options(feed, feed.is_table(entry, "the feed")))
        feed.guard(_check_table_name, name)
        feed.lower(name)
    rule = _Where(path, "undeclared")
    undeclared = where.table(content, "undeclared")
    return System(
        name=_system_name(where, where.text(head, "name")),
        source=_source(where, where.text(head, "source")),
        client=where.text(head, "client") if "client" in head else None,
        tables=tables,
        undeclared=_complete(rule, defaults, _options(rule, undeclared)) if undeclared else None,
        file=path,
    )


def _in_zone(options: Mapping[str, Any], timezone: str | None) -> Mapping[str, Any]:
    return {**options, "timezone": zone(timezone)} if timezone else options


def _options(where: _Where, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one feed, checked one by one. ``cursor = false`` and ``deleted = false`` undo a default."""
    where.only(entry, set(_OPTIONS))
    return {name: _OPTIONS[name](where, name, value) for name, value in entry.items()}


def _complete(where: _Where, defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    options = {**defaults, **own, "types": {**defaults.get("types", {}), **own.get("types", {})}}
    if not options.get("keys"):
        raise where.wrong("it has no keys")
    _check_columns(where, options)
    return options


def _check_columns(where: _Where, options: Mapping[str, Any]) -> None:
    """Columns that cannot play the parts they are given."""
    cursor, flag = options.get("cursor"), options.get("deleted")
    if flag and flag.casefold() in _folded(name for name in (*options["keys"], cursor) if name):
        raise where.wrong(f"{flag!r} cannot be the deletion flag and a key or the cursor")
    kind = {name.casefold(): kind for name, kind in options["types"].items()}.get((cursor or "").casefold())
    if kind and kind.partition("(")[0] not in CURSOR_TYPES:
        raise where.wrong(f"cursor {cursor!r} has type {kind}, which cannot be ordered")


def _system_name(where: _Where, name: str) -> str:
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise where.wrong(f"name {name!r} cannot name a schema: use a-z, 0-9 and _, and none of {', '.join(_RESERVED)}")
    return name


def _source(where: _Where, source: str) -> str:
    if source not in KINDS:
        raise where.wrong(f"there is no source {source!r}; known are {', '.join(KINDS)}")
    return source


class _Where:
    """A place in a catalog file, to name in errors."""

    def __init__(self, path: Path, entry: str) -> None:
        self._path, self._entry = path, entry

    def wrong(self, reason: str) -> ConfigError:
        return ConfigError(f"{self._path.name}, {self._entry}: {reason}", fix="Mend it there")

    def only(self, entry: Mapping[str, Any], known: set[str]) -> None:
        for name in entry:
            if name not in known:
                raise self.wrong(f"{name!r} is not known here; known are {', '.join(sorted(known))}")

    def table(self, content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        return self.is_table(content.get(name, {}), name)

    def is_table(self, value: Any, name: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(f"{name} must be a table, not {value!r}")
        return value

    def text(self, entry: Mapping[str, Any], name: str) -> str:
        value = entry.get(name)
        if not isinstance(value, str) or not value:
            raise self.wrong(f"{name} must be a text, not {value!r}")
        return value

    def lower(self, name: str) -> None:
        if name != name.lower():
            raise self.wrong(f"write the table's name in lower case: {name.lower()!r}")

    def guard(self, check: Callable[[str], T], text: str) -> T:
        try:
            return check(text)
        except ConfigError as error:
            raise self.wrong(error.problem) from error


def _keys(where: _Where, _name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(key, str) and key for key in value):
        raise where.wrong(f"keys must be a list of column names, not {value!r}")
    if len(_folded(value)) < len(value):
        raise where.wrong(f"keys has a column twice: {value!r}")
    try:
        [key.format(table="") for key in value]
    except (LookupError, ValueError) as error:
        raise where.wrong(f"keys may hold {{table}} and no other braces, not {value!r}") from error
    return tuple(value)


def _folded(names: Iterable[str]) -> set[str]:
    return {name.casefold() for name in names}


def _column(where: _Where, name: str, value: Any) -> str | None:
    if value is False:
        return None
    if not isinstance(value, str) or not value:
        raise where.wrong(f"{name} must be a column name, or false for none, not {value!r}")
    return value


def _types(where: _Where, name: str, value: Any) -> dict[str, str]:
    entry = where.is_table(value, name)
    if len(_folded(entry)) < len(entry):
        raise where.wrong(f"types has a column twice: {', '.join(entry)}")
    return {column: where.guard(parse_type, str(kind)) for column, kind in entry.items()}


def _zone(where: _Where, _name: str, value: Any) -> str:
    return str(where.guard(zone, str(value)))


def _deletes(where: _Where, _name: str, value: Any) -> str:
    if value not in ("soft", "hard"):
        raise where.wrong(f"deletes must be 'soft' or 'hard', not {value!r}")
    return str(value)


def _share(where: _Where, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise where.wrong(f"{name} must be a number from 0 to 1, not {value!r}")
    return float(value)


def _whole_seconds(where: _Where, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise where.wrong(f"{name} must be a whole number of seconds, not {value!r}")
    return value


def _schedule(where: _Where, _name: str, value: Any) -> str:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(str(value), dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
    except CronSimError as error:
        raise where.wrong(
            f"schedule must be a cron expression of five fields, such as '*/15 * * * *', not {value!r}"
        ) from error
    return str(value)


def _hours(where: _Where, name: str, value: Any) -> float | None:
    if value is False:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise where.wrong(f"{name} must be a number of hours above 0, or false for none, not {value!r}")
    return float(value)


_OPTIONS: Mapping[str, Callable[[_Where, str, Any], Any]] = {
    "keys": _keys,
    "cursor": _column,
    "deleted": _column,
    "types": _types,
    "timezone": _zone,
    "deletes": _deletes,
    "max_reject_share": _share,
    "max_delete_share": _share,
    "overlap_seconds": _whole_seconds,
    "schedule": _schedule,
    "max_age_hours": _hours,
}


def _check_table_name(table: str) -> None:
    size = len(table.encode())
    if not table.strip() or size > _LONGEST_TABLE or "\0" in table:
        raise ConfigError(f"{table[:80]!r} ({size} bytes) cannot name a table", fix=f"Use 1 to {_LONGEST_TABLE} bytes")
    if table.casefold().endswith("_active"):
        raise ConfigError(f"{table!r} has the name of a view of ours", fix="Use a name that does not end in _active")


def _quoted(text: str) -> str:
    import json

    # A TOML basic string takes JSON's escapes, and no DEL as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
