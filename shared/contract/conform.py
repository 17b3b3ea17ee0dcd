"""Make batches fit their contract, or say what does not fit: the file, a row, or one value of a row. Pure."""

from __future__ import annotations

import datetime as dt

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from shared.arrow import arange, pc
from shared.contract import types
from shared.contract.cast import Fault, cast, json_text
from shared.contract.cursor import CURSOR_TYPES
from shared.errors import DataError
from shared.model import SYSTEM_COLUMNS, Column, Feed

ROW = "_sluice_row"
"""Column of every staging table: the number of the row within its run, from 0 in file order."""

LONGEST_NAME = 63
"""Bytes of UTF-8 in a column name; PostgreSQL's limit, kept on every engine so that a feed can move."""

_RESERVED = {name.casefold() for name in (*SYSTEM_COLUMNS, ROW)}


@dataclass(frozen=True, slots=True)
class Reject:
    """A row, or one value of a row, that was set aside."""

    row: int
    """Number of the row within its slice, from 0."""
    scope: str
    """``row``: the whole row was left out. ``value``: the row went on with NULL in this column."""
    column: str | None
    code: str
    reason: str
    raw: str
    """The row as it was read, as JSON."""


class Conformed(NamedTuple):
    accepted: pa.RecordBatch
    rejects: list[Reject]
    present: pa.RecordBatch
    """Keys of the rejected rows whose key could be read."""
    rejected: int
    """Rejected rows; ``rejects`` also has set-aside values."""


def fit(schemas: Mapping[str, pa.Schema], feed: Feed) -> tuple[Column, ...]:
    """The columns of a run over the files in *schemas* (by name), or a DataError that says what is wrong with which."""
    found = {file: _fit_one(file, schema, feed) for file, schema in schemas.items()}
    (first, wanted), *others = found.items()
    for file, names in others:
        wanted = {key: _agreed(first, file, wanted.get(key), names.get(key)) for key in {**wanted, **names}}
    return tuple(wanted.values())


def _fit_one(file: str, schema: pa.Schema, feed: Feed) -> dict[str, Column]:
    fitted: dict[str, Column] = {}
    for field in schema:
        column = Column(field.name, _stored_name(file, field.name, feed), _stored_type(file, field, feed))
        twin = fitted.setdefault(folded(column.name), column)
        if twin is not column:
            raise DataError(
                f"{file} has two columns that differ only in case, trailing blanks or our suffix: "
                f"{twin.source!r} and {field.name!r}",
                fix="Rename one of them at the source",
            )
    _demand(file, feed, fitted)
    return fitted


def folded(name: str) -> str:
    """What engines take for the same name: some do not look at case, SQL Server not at trailing blanks either."""
    return name.rstrip(" ").casefold()


def _stored_name(file: str, name: str, feed: Feed) -> str:
    size = len(name.encode())
    if not name.strip() or size > LONGEST_NAME or "\0" in name:
        raise DataError(
            f"{file} has a column name that cannot be stored: {name[:80]!r} ({size} bytes)",
            fix=f"Give it a name of 1 to {LONGEST_NAME} bytes at the source",
        )
    if folded(name) in _RESERVED:
        return f"{name}_source"
    declared = (*feed.keys, feed.cursor, feed.deleted, *feed.types)
    return next((known for known in declared if known and folded(known) == folded(name)), name)


def _stored_type(file: str, field: pa.Field[Any], feed: Feed) -> str:
    told = {folded(name): kind for name, kind in feed.types.items()}.get(folded(field.name))
    if feed.deleted and folded(field.name) == folded(feed.deleted):
        told = "boolean"
    kind = told or types.of_arrow(field.type)
    if kind is None:
        raise DataError(
            f"{file} has column {field.name!r} of type {field.type}, which no column type holds",
            fix="Export it as another type, or give it one under types in the catalog",
        )
    return kind


def _demand(file: str, feed: Feed, fitted: Mapping[str, Column]) -> None:
    needed = (*feed.keys, feed.cursor, feed.deleted)
    missing = [name for name in needed if name and folded(name) not in fitted]
    if missing:
        raise DataError(
            f"{file} lacks column {', '.join(map(repr, missing))} of feed {feed.name}",
            fix="Export it, or correct the feed's keys, cursor and deleted in the catalog",
        )
    if feed.cursor:
        kind = fitted[folded(feed.cursor)].type
        if kind.partition("(")[0] not in (*CURSOR_TYPES, types.NULL):
            raise DataError(
                f"{file} has cursor {feed.cursor!r} of type {kind}, which has no order to go by",
                fix=f"Choose a cursor of type {', '.join(CURSOR_TYPES)}",
            )


def _agreed(first: str, file: str, one: Column | None, other: Column | None) -> Column:
    if one is None or other is None:
        name = (one or other).name  # type: ignore[union-attr]  # one of them is there, by how the pairs are made
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
    """What every batch of a run is held to."""

    def __init__(self, feed: Feed, wanted: Sequence[Column], *, latest_cursor: dt.datetime | None = None) -> None:
        """*latest_cursor* (UTC, naive): a row whose instant cursor is later is rejected."""
        self._feed = feed
        self.columns = [column for column in wanted if column.type != types.NULL]
        self._latest = latest_cursor
        told = {folded(name) for name in (*feed.keys, feed.cursor, feed.deleted) if name}
        self._decisive = {column.name for column in self.columns if folded(column.name) in told}
        # A key or cursor column without any value has no type of its own; its rows are all judged by their NULLs.
        self._keys = [column.name for column in self.columns if column.name in feed.keys]
        self.schema = pa.schema(
            [pa.field(ROW, pa.int64()), *(pa.field(c.name, types.to_arrow(c.type)) for c in self.columns)]
        )

    @property
    def keys_schema(self) -> pa.Schema:
        return pa.schema([self.schema.field(name) for name in self._keys])

    def conform(self, batch: pa.RecordBatch, first_row: int) -> Conformed:
        """Cast *batch*, whose first row has number *first_row* in the run; split off what does not fit."""
        arrays, faults = self._cast(batch)
        doubts = [*self._missing_keys(arrays, faults, batch.num_rows), *self._decisive_faults(faults)]
        doubts += self._from_the_future(arrays)
        bad = _any(doubts, batch.num_rows)
        rows = arange(first_row, first_row + batch.num_rows)
        whole = pa.RecordBatch.from_arrays([rows, *arrays.values()], schema=self.schema)
        rejects = _rejects(batch, doubts, faults, self._decisive, bad)
        if bad is None:
            return Conformed(whole, rejects, _empty(self), 0)
        readable = pc.and_(bad, self._keys_readable(arrays, batch.num_rows))
        present = whole.select(self._keys).filter(readable) if self._keys else _empty(self)
        return Conformed(whole.filter(pc.invert(bad)), rejects, present, bad.true_count)

    def _cast(self, batch: pa.RecordBatch) -> tuple[dict[str, pa.Array[Any]], dict[str, tuple[Fault, ...]]]:
        arrays, faults = {}, {}
        for column in self.columns:
            source = batch.column(_position(batch.schema, column))
            arrays[column.name], found = cast(source, column.type, self._feed.timezone)
            if found:
                faults[column.name] = tuple(
                    fault._replace(reason=fault.reason.format(type=column.type, source=source.type)) for fault in found
                )
        return arrays, faults

    def _missing_keys(
        self, arrays: Mapping[str, pa.Array[Any]], faults: Mapping[str, Any], rows: int
    ) -> list[tuple[str | None, Fault]]:
        found: list[tuple[str | None, Fault]] = []
        for key in self._feed.keys:
            if key not in arrays:
                found.append((key, Fault("key_null", "no key", pa.array([True] * rows, pa.bool_()))))
            elif arrays[key].null_count and key not in faults:
                found.append((key, Fault("key_null", "no key", arrays[key].is_null())))
            elif arrays[key].null_count:
                known = _any([(key, fault) for fault in faults[key]], rows)
                found.append((key, Fault("key_null", "no key", pc.and_not(arrays[key].is_null(), known))))
        return found

    def _decisive_faults(self, faults: Mapping[str, Sequence[Fault]]) -> list[tuple[str | None, Fault]]:
        return [(name, fault) for name, several in faults.items() if name in self._decisive for fault in several]

    def _from_the_future(self, arrays: Mapping[str, pa.Array[Any]]) -> list[tuple[str | None, Fault]]:
        cursor = arrays.get(self._feed.cursor or "")
        if self._latest is None or cursor is None or not pa.types.is_temporal(cursor.type):
            return []
        latest = self._latest.date() if pa.types.is_date(cursor.type) else self._latest
        top = pc.max(cursor).as_py()
        if top is None or top <= latest:
            return []
        late = pc.fill_null(pc.greater(cursor, pa.scalar(latest, cursor.type)), False)
        reason = f"cursor later than {self._latest.isoformat(sep=' ')}, the export's time and what is allowed beyond"
        return [(self._feed.cursor, Fault("cursor_in_future", reason, late))]

    def _keys_readable(self, arrays: Mapping[str, pa.Array[Any]], rows: int) -> pa.BooleanArray:
        readable = pa.array([len(self._keys) == len(self._feed.keys)] * rows, pa.bool_())
        for key in self._keys:
            readable = pc.and_(readable, arrays[key].is_valid())
        return readable


def _empty(contract: Contract) -> pa.RecordBatch:
    schema = contract.keys_schema
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _position(schema: pa.Schema, column: Column) -> int:
    """Where a file has the column; its parts may spell it differently in case."""
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


def _rejects(
    batch: pa.RecordBatch,
    doubts: Sequence[tuple[str | None, Fault]],
    faults: Mapping[str, Sequence[Fault]],
    decisive: set[str],
    bad: pa.BooleanArray | None,
) -> list[Reject]:
    """Every row at fault once, with its first fault; every value at fault of the other rows."""
    found: list[Reject] = []
    seen: set[int] = set()
    for column, fault in doubts:
        for row in _positions(fault.where):
            if row not in seen:
                seen.add(row)
                found.append(Reject(row, "row", column, fault.code, fault.reason, raw_row(batch, row)))
    for name, several in faults.items():
        for fault in several if name not in decisive else ():
            odd = fault.where if bad is None else pc.and_(fault.where, pc.invert(bad))
            found += [
                Reject(row, "value", name, fault.code, fault.reason, raw_row(batch, row)) for row in _positions(odd)
            ]
    return found


def _positions(where: pa.BooleanArray) -> list[int]:
    positions: list[int] = pc.indices_nonzero(where).to_pylist()
    return positions


def raw_row(batch: pa.RecordBatch, row: int) -> str:
    """One row as JSON, whatever is in it: bytes that are not UTF-8 come out escaped."""
    return json_text({name: _readable(batch.column(n), row) for n, name in enumerate(batch.schema.names)}, lenient=True)


def _readable(array: pa.Array[Any], row: int) -> Any:
    return _for_people(array[row])


def _for_people(value: pa.Scalar[Any]) -> Any:
    try:
        return value.as_py()
    except (ValueError, OverflowError):  # somewhere inside: bytes that are not UTF-8, a moment Python cannot hold
        return _told(value)


def _told(value: Any) -> Any:
    if pa.types.is_dictionary(value.type):
        return _for_people(value.value)
    if pa.types.is_struct(value.type):
        return {field.name: _for_people(value[n]) for n, field in enumerate(value.type)}
    if pa.types.is_nested(value.type):
        return [_for_people(item) for item in value.values]
    if pa.types.is_temporal(value.type):
        return value.cast(pa.string()).as_py()
    return value.cast(pa.binary()).as_py().decode(errors="backslashreplace")
