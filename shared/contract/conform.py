"""Makes batches fit their contract, and rejects what does not fit: a file, a row, or one value of a row. Pure."""

from __future__ import annotations

import datetime as dt

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa

from shared.arrow import arange, pc
from shared.contract import types
from shared.contract.cast import Fault, cast
from shared.contract.checks import RowChecks
from shared.contract.codes import Code
from shared.contract.cursor import CURSOR_TYPES
from shared.contract.hidden import NO_SECRETS, Hiding, Privacy, how
from shared.contract.layout import cleaned_columns
from shared.contract.mapping import map_headers, require_columns
from shared.contract.names import folded as folded  # noqa: PLC0414 - others know it from here
from shared.contract.raw_rows import raw_rows
from shared.errors import DataError
from shared.model import APPENDED_COLUMNS, SYSTEM_COLUMNS, Column, Feed

ROW = "_sluice_row"
"""Column of every staging table: the number of the row within its run, from 0 in file order."""

LONGEST_NAME = 63
"""Bytes of UTF-8 in a column name. PostgreSQL's limit, applied on every engine so that a feed can move to another."""

DAY_FIRST = b"day_first"
"""Metadata of a field of text, ``true`` or ``false``: the order of day and month that the dates of the file show."""

_RESERVED = {name.casefold() for name in (*SYSTEM_COLUMNS, ROW)}
_APPENDED = {name.casefold() for name in APPENDED_COLUMNS}


@dataclass(frozen=True, slots=True)
class Reject:
    """A row, or one value of a row, that was not loaded."""

    row: int
    """Number of the row within its slice, from 0."""
    scope: str
    """``row``: the whole row was left out. ``value``: the row was loaded with NULL in this column."""
    column: str | None
    code: Code
    reason: str
    raw: str
    """The row as it was read, as JSON."""


class Conformed(NamedTuple):
    accepted: pa.RecordBatch
    rejects: list[Reject]
    present: pa.RecordBatch
    """Keys of the rejected rows whose key could be read."""
    rejected: int
    """Rejected rows; ``rejects`` also has single values of other rows."""
    kept_out: int = 0
    """Those of them whose key was erased and is to stay out."""
    checks: Mapping[str, int] = {}
    """How many accepted rows fail a check that rejects none, by its number in the feed."""


def fit(schemas: Mapping[str, pa.Schema], feed: Feed) -> tuple[Column, ...]:
    """The columns of a run over the files in *schemas* by name. DataError names the file that does not fit."""
    found = {file: _fit_one(file, schema, feed) for file, schema in schemas.items()}
    (first, wanted), *others = found.items()
    for file, names in others:
        wanted = {key: _agreed(first, file, wanted.get(key), names.get(key)) for key in {**wanted, **names}}
    return tuple(wanted.values())


def _fit_one(file: str, schema: pa.Schema, feed: Feed) -> dict[str, Column]:
    if feed.layout is not None:
        columns = map_headers(schema.names, feed.layout).columns
        require_columns(file, schema.names, columns, feed)
        return {
            folded(column.name): replace(
                column, day_first=_day_first(schema, column), type="text" if how(feed, column.name) else column.type
            )
            for column in columns
        }
    fitted: dict[str, Column] = {}
    excluded = {folded(name) for name in feed.exclude}
    for field in schema:
        if folded(field.name) in excluded:
            continue
        stored = _stored_name(file, field.name, feed)
        column = Column(field.name, stored, _stored_type(file, field, stored, feed))
        duplicate = fitted.setdefault(folded(column.name), column)
        if duplicate is not column:
            raise DataError(
                f"{file} has two columns that differ only in case, trailing blanks or the suffix _source"
                f"{', or are renamed to the same' if feed.rename else ''}: {duplicate.source!r} and {field.name!r}",
                fix="Rename one of them at the source",
            )
    _require(file, feed, fitted)
    return fitted


def _day_first(schema: pa.Schema, column: Column) -> bool | None:
    """What the source found out of the dates of the file."""
    found = (schema.field(column.source).metadata or {}).get(DAY_FIRST) if column.source else None
    return None if found is None else found == b"true"


def _stored_name(file: str, name: str, feed: Feed) -> str:
    size = len(name.encode())
    if not name.strip() or size > LONGEST_NAME or "\0" in name:
        raise DataError(
            f"{file} has a column name that cannot be stored: {name[:80]!r} ({size} bytes)",
            fix=f"Give it a name of 1 to {LONGEST_NAME} bytes at the source",
        )
    renamed = next((column for source, column in feed.rename.items() if folded(source) == folded(name)), None)
    if renamed is not None:
        return renamed
    if folded(name) in _RESERVED or (feed.lake == "append" and folded(name) in _APPENDED):
        return f"{name}_source"
    declared = (*feed.keys, feed.cursor, feed.deleted, *feed.types)
    return next((known for known in declared if known and folded(known) == folded(name)), name)


def _stored_type(file: str, field: pa.Field[Any], stored: str, feed: Feed) -> str:
    kind = _read_type(field, stored, feed)
    if kind is None:
        raise DataError(
            f"{file} has column {field.name!r} of type {field.type}, which no column type holds",
            fix="Export it as another type, or give it one under types in the catalog",
        )
    return "text" if kind != types.NULL and how(feed, field.name, stored) else kind


def _read_type(field: pa.Field[Any], stored: str, feed: Feed) -> str | None:
    """What the values of a column are read as, which is *stored* by that name; None if nothing holds them."""
    declared = {folded(name): kind for name, kind in feed.types.items()}
    if feed.deleted and folded(stored) == folded(feed.deleted):
        return "boolean"
    return declared.get(folded(field.name)) or declared.get(folded(stored)) or types.of_arrow(field.type)


def _require(file: str, feed: Feed, fitted: Mapping[str, Column]) -> None:
    required = (*feed.keys, feed.cursor, feed.deleted)
    missing = [name for name in required if name and folded(name) not in fitted]
    if missing:
        raise DataError(
            f"{file} lacks column {', '.join(map(repr, missing))} of feed {feed.name}",
            fix="Export it, or correct the feed's keys, cursor and deleted in the catalog",
        )
    if feed.cursor:
        kind = fitted[folded(feed.cursor)].type
        if kind.partition("(")[0] not in (*CURSOR_TYPES, types.NULL):
            raise DataError(
                f"{file} has cursor {feed.cursor!r} of type {kind}, which cannot be ordered",
                fix=f"Choose a cursor of type {', '.join(CURSOR_TYPES)}",
            )


def _agreed(first: str, file: str, one: Column | None, other: Column | None) -> Column:
    if one is None or other is None:
        name = (one or other).name  # type: ignore[union-attr]  # the caller has at least one of them
        raise DataError(
            f"{file} and {first} are parts of one table, but only one of them has column {name!r}",
            fix="Export all parts of a table with the same columns",
        )
    kinds = {one.type, other.type} - {types.NULL}
    kind = kinds.pop() if len(kinds) == 1 else types.widened(one.type, other.type)
    if kind is None:
        raise DataError(
            f"{file} has column {one.name!r} as {other.type}, {first} has it as {one.type}",
            fix="Export all parts of a table with the same types",
        )
    return Column(one.source, one.name, kind)


class Contract:
    """The columns of a run, and what makes a row of it acceptable."""

    def __init__(
        self, feed: Feed, wanted: Sequence[Column], *, latest_cursor: dt.datetime | None = None,
        privacy: Privacy = NO_SECRETS,
    ) -> None:  # fmt: skip
        """*latest_cursor* (UTC, naive): a row whose instant cursor is later is rejected.

        ConfigError if the feed has columns to hash and *privacy* has no key for that.
        """
        self._feed, self._kept_out, self._hiding = feed, privacy.kept_out, Hiding(feed, privacy.hash_key)
        self._checks = RowChecks(feed, {column.name: column.type for column in wanted if column.type != types.NULL})
        self.columns = [column for column in wanted if column.type != types.NULL]
        self._latest = latest_cursor
        self._cleaned = cleaned_columns(feed, self.columns)
        required = {folded(name) for name in (*feed.keys, feed.cursor, feed.deleted) if name}
        required |= {folded(name) for name, one in self._cleaned.items() if one.column.required}
        self._required = {column.name for column in self.columns if folded(column.name) in required}
        # A key column without any value has no type and is not stored: each of its rows is rejected for its NULL.
        self._keys = [column.name for column in self.columns if column.name in feed.keys]
        self.schema = pa.schema(
            [pa.field(ROW, pa.int64()), *(pa.field(c.name, types.to_arrow(c.type)) for c in self.columns)]
        )

    @property
    def keys_schema(self) -> pa.Schema:
        return pa.schema([self.schema.field(name) for name in self._keys])

    def conform(self, batch: pa.RecordBatch, first_row: int) -> Conformed:
        """Cast *batch*, whose first row has number *first_row* in the run, and split off what does not fit."""
        batch = self._without_excluded(batch)
        arrays, faults = self._cast(batch)
        out = self._of_erased_keys(arrays)  # first: of such a row nothing may be kept, whatever else is wrong with it
        row_faults = [*out, *self._missing_keys(arrays, faults, batch.num_rows), *self._required_faults(faults)]
        row_faults += self._missing_values(arrays, faults, batch.num_rows)
        row_faults += [*self._future_cursors(arrays), *self._checks.faults(arrays)]
        faulty = _any(row_faults, batch.num_rows)
        batch = self._as_kept(batch, arrays)
        rows = arange(first_row, first_row + batch.num_rows)
        converted = pa.RecordBatch.from_arrays([rows, *arrays.values()], schema=self.schema)
        value_faults = {name: several for name, several in faults.items() if name not in self._required}
        rejects = [*_rejected_rows(batch, row_faults), *_rejected_values(batch, value_faults, faulty)]
        if faulty is None:
            return Conformed(converted, rejects, _empty(self), 0, checks=self._checks.count(converted))
        readable = pc.and_(faulty, self._keys_readable(arrays, batch.num_rows))
        for _, fault in out:
            readable = pc.and_not(readable, fault.where)
        present = converted.select(self._keys).filter(readable) if self._keys else _empty(self)
        kept_out = sum(fault.where.true_count for _, fault in out)
        accepted = converted.filter(pc.invert(faulty))
        return Conformed(accepted, rejects, present, faulty.true_count, kept_out, self._checks.count(accepted))

    def redacted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """*batch* as it was read, without what is excluded or hidden."""
        plain = self._without_excluded(batch)
        return self._as_kept(plain, self._cast(plain)[0])

    def raw_record(self, raw: str) -> str:
        """A record that is no row, as it may be kept: it does not show which part of it is to be hidden."""
        return "{}" if self._hiding.hides else raw

    def _as_kept(self, batch: pa.RecordBatch, arrays: Mapping[str, pa.Array[Any]]) -> pa.RecordBatch:
        """*batch* as rejects keep it, where *arrays* are stored by column."""
        if not self._hiding.hides:
            return batch
        hidden = [column for column in self.columns if how(self._feed, column.source, column.name)]
        named = {batch.schema.names[_position(batch.schema, column)]: arrays[column.name] for column in hidden}
        return self._hiding.redacted(batch, named)

    def _without_excluded(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """First of all: a rejected row is kept as it was read, but for these columns."""
        excluded = {folded(name) for name in self._feed.exclude}
        return (
            batch.select([name for name in batch.schema.names if folded(name) not in excluded]) if excluded else batch
        )

    def _cast(self, batch: pa.RecordBatch) -> tuple[dict[str, pa.Array[Any]], dict[str, tuple[Fault, ...]]]:
        arrays, faults = {}, {}
        for column in self.columns:
            cleaned = self._cleaned.get(column.name)
            position = _position(batch.schema, column) if column.source else None
            form = how(self._feed, column.source, column.name)
            field = None if position is None else batch.schema.field(position)
            kind = (_read_type(field, column.name, self._feed) if form and field is not None else None) or column.type
            if cleaned is not None:
                without = batch if column.source else self._hiding.redacted(batch, {})  # of Extra
                source, read = cleaned.text(without, column), replace(column, type=kind)
                found = cleaned.read(source, read)
            else:
                source = batch.column(_position(batch.schema, column))
                found = cast(source, kind, self._feed.timezone)
            if form is not None and field is not None:
                found = self._hiding.stored(form, field, source, found)
            arrays[column.name], several = found
            if cleaned is not None:
                several = (*several, *cleaned.unread(batch, column))
            if several:
                faults[column.name] = tuple(
                    fault._replace(reason=fault.reason.format(type=kind, source=source.type)) for fault in several
                )
        return arrays, faults

    def _of_erased_keys(self, arrays: Mapping[str, pa.Array[Any]]) -> list[tuple[str | None, Fault]]:
        if self._kept_out is None or not all(key in arrays for key in self._feed.keys):
            return []
        where = self._kept_out.where([arrays[key] for key in self._feed.keys])
        return (
            [(None, Fault(Code.KEPT_OUT, "its key was erased and is to stay out", where))] if where.true_count else []
        )

    def _missing_keys(
        self, arrays: Mapping[str, pa.Array[Any]], faults: Mapping[str, Any], rows: int
    ) -> list[tuple[str | None, Fault]]:
        found: list[tuple[str | None, Fault]] = []
        for key in self._feed.keys:
            if key not in arrays:
                found.append((key, Fault(Code.KEY_NULL, "no key", pa.array([True] * rows, pa.bool_()))))
            elif arrays[key].null_count:
                found.append((key, Fault(Code.KEY_NULL, "no key", _missing(arrays[key], faults.get(key, ())))))
        return found

    def _missing_values(
        self, arrays: Mapping[str, pa.Array[Any]], faults: Mapping[str, Any], rows: int
    ) -> list[tuple[str | None, Fault]]:
        """Of the columns that a layout requires beside the keys."""
        names = [name for name, one in self._cleaned.items() if one.column.required and name not in self._feed.keys]
        return [
            (name, Fault(Code.VALUE_MISSING, "no value", _missing(arrays[name], faults.get(name, ()))))
            for name in names
            if name in arrays and arrays[name].null_count
        ]

    def _required_faults(self, faults: Mapping[str, Sequence[Fault]]) -> list[tuple[str | None, Fault]]:
        return [(name, fault) for name, several in faults.items() if name in self._required for fault in several]

    def _future_cursors(self, arrays: Mapping[str, pa.Array[Any]]) -> list[tuple[str | None, Fault]]:
        cursor = arrays.get(self._feed.cursor or "")
        if self._latest is None or cursor is None or not pa.types.is_temporal(cursor.type):
            return []
        latest = self._latest.date() if pa.types.is_date(cursor.type) else self._latest
        top = pc.max(cursor).as_py()
        if top is None or top <= latest:
            return []
        late = pc.fill_null(pc.greater(cursor, pa.scalar(latest, cursor.type)), False)
        reason = f"cursor later than {self._latest.isoformat(sep=' ')}, the export's time plus CURSOR_AHEAD"
        return [(self._feed.cursor, Fault(Code.CURSOR_IN_FUTURE, reason, late))]

    def _keys_readable(self, arrays: Mapping[str, pa.Array[Any]], rows: int) -> pa.BooleanArray:
        readable = pa.array([len(self._keys) == len(self._feed.keys)] * rows, pa.bool_())
        for key in self._keys:
            readable = pc.and_(readable, arrays[key].is_valid())
        return readable


def _missing(values: pa.Array[Any], faults: Sequence[Fault]) -> pa.BooleanArray:
    """Where there is no value, not because of a fault."""
    faulty = _any([(None, fault) for fault in faults], len(values))
    nulls: pa.BooleanArray = values.is_null()
    return nulls if faulty is None else pc.and_not(nulls, faulty)


def _empty(contract: Contract) -> pa.RecordBatch:
    schema = contract.keys_schema
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _position(schema: pa.Schema, column: Column) -> int:
    """Index of the column in a file; part files may spell its name in different case."""
    index = schema.get_field_index(column.source)
    if index >= 0:
        return index
    return next(n for n, name in enumerate(schema.names) if folded(name) == folded(column.source))


def _any(faults: Sequence[tuple[str | None, Fault]], rows: int) -> pa.BooleanArray | None:
    combined: pa.BooleanArray | None = None
    for _, fault in faults:
        if fault.where.true_count:
            combined = fault.where if combined is None else pc.or_(combined, fault.where)
    return combined


def _rejected_rows(batch: pa.RecordBatch, faults: Sequence[tuple[str | None, Fault]]) -> list[Reject]:
    """Every faulty row once, with its first fault."""
    first: dict[int, tuple[str | None, Fault]] = {}
    for column, fault in faults:
        for row in _positions(fault.where):
            first.setdefault(row, (column, fault))
    raw = raw_rows(batch, [row for row, (_, one) in first.items() if one.code != Code.KEPT_OUT])
    return [
        Reject(row, "row", column, one.code, one.reason, raw.get(row, "{}")) for row, (column, one) in first.items()
    ]


def _rejected_values(
    batch: pa.RecordBatch, faults: Mapping[str, Sequence[Fault]], rejected: pa.BooleanArray | None
) -> list[Reject]:
    """Every faulty value of the rows that are not *rejected*."""
    found = [
        (row, name, fault)
        for name, several in faults.items()
        for fault in several
        for row in _positions(fault.where if rejected is None else pc.and_not(fault.where, rejected))
    ]
    raw = raw_rows(batch, [row for row, _, _ in found])
    return [Reject(row, "value", name, fault.code, fault.reason, raw[row]) for row, name, fault in found]


def _positions(where: pa.BooleanArray) -> list[int]:
    positions: list[int] = pc.indices_nonzero(where).to_pylist()
    return positions
