"""Pages of HubSpot's records become columns of text without a Python object for each value.

pyarrow.json reads a page whose values are all texts, as HubSpot's are. Whatever it refuses, or would understand in
another way than the parser of the standard library, is read by that one: the columns are the same
(docs/decisions/0045-types-of-json.md).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.json

from shared.arrow import pc
from shared.errors import TransientError
from shared.native import native_call
from shared.parallel import one_ahead
from shared.rest import instants
from shared.rest.failures import Response
from shared.rest.pages import Page, Place, records_of
from shared.rest.rows import Record, read_json
from shared.rest.stretches import Stretch
from shared.sources.hubspot.records import MERGED, NAMES, OWN, losers, raw_of, value

T = TypeVar("T")
_TEXT = pa.string()
_PAGES = 10
"""Parsed at once: each time has a cost of its own, as has each column of a batch."""
_PLAIN = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$"
"""Instants that Arrow reads as ``instants.parse`` does."""


class PageReader:
    """Reads pages of records with the properties *names*."""

    def __init__(self, names: Sequence[str], host: str) -> None:
        self.names, self._host = list(names), host
        record: list[tuple[str, pa.DataType]] = [
            ("id", _TEXT), ("archived", pa.bool_()), *((name, _TEXT) for name in NAMES.values()),
            ("properties", pa.struct([(name, _TEXT) for name in names])),
        ]  # fmt: skip
        schema = pa.schema([("results", pa.list_(pa.struct(record)))])
        self._options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")

    def read(self, response: Response) -> pa.RecordBatch:
        """Raw columns (see ``raw_of``) of the page in *response*. ValueError if it is no JSON, DataError if it has no
        records."""
        return self._raw([response.body])

    def read_lazily(self, response: Response) -> tuple[pa.RecordBatch | bytes, Any]:
        """The page in *response*, and what of its JSON names the next one; bytes, for ``columns``, if it is plain."""
        content = _end(response.body)
        if content is None:
            content = read_json(response.body)
            return raw_of(records_of(content, "results", self._host), self.names), content
        return response.body, content

    def columns(self, pages: Iterable[Page]) -> Iterator[Stretch[pa.RecordBatch]]:
        """Raw columns of *pages* of a list, many at once; some more pages are called for meanwhile."""
        for group in one_ahead(_groups(pages)):
            bodies: list[bytes] = []
            place: Place | None = None
            for page in [*group, None]:
                found: Any = page.records if page is not None else None
                if page is not None and isinstance(found, bytes):
                    bodies.append(found)
                    place = page.following
                    continue
                if bodies:
                    yield Stretch([self._listed(bodies)], place)
                    bodies = []
                if page is not None:
                    yield Stretch([found], page.following)

    def _listed(self, bodies: list[bytes]) -> pa.RecordBatch:
        try:
            return self._raw(bodies)
        except ValueError as error:
            what = f"{self._host} answers with something else than JSON"
            raise TransientError(what, fix="Correct the base URL, or sync again once the API is up") from error

    def _raw(self, bodies: list[bytes]) -> pa.RecordBatch:
        try:
            return self._natively(bodies)
        except (pa.ArrowException, _Other):
            pages = [records_of(read_json(body), "results", self._host) for body in bodies]
            return raw_of([record for page in pages for record in page], self.names)

    def _natively(self, bodies: list[bytes]) -> pa.RecordBatch:
        joined = b"\n".join(bodies)
        if joined.count(b"\n") != len(bodies) - 1 or b"\r" in joined or not _is_utf8(joined):
            raise _Other
        reading = pyarrow.json.ReadOptions(use_threads=False, block_size=len(joined) + 1)
        with native_call("pyarrow"):
            pages: Any = pyarrow.json.read_json(io.BytesIO(joined), read_options=reading, parse_options=self._options)
        if pages.num_rows != len(bodies) or pages["results"].null_count:
            raise _Other
        found = pages["results"].combine_chunks().flatten()
        raw = self._columns(found)
        if found.null_count or raw["id"].null_count:
            raise _Other
        return raw

    def _columns(self, found: Any) -> pa.RecordBatch:
        fields = dict(zip((field.name for field in found.type), found.flatten(), strict=True))
        archived = pc.if_else(pc.fill_null(fields["archived"], False), "true", "false")
        own = [fields["id"], archived, *(fields[name] for name in NAMES.values())]
        return pa.RecordBatch.from_arrays(
            [*own, *fields["properties"].flatten()], names=["id", "archived", *NAMES, *self.names]
        )


class _Other(Exception):  # noqa: N818 - the page is not wrong
    """The page has something that the standard library has to read."""


def _end(body: bytes) -> Any:
    """The fields of the object in *body* from ``paging`` on, if it has no others behind its records and they are plain.

    A quote within a text has a backslash before it: a comma and a quote are between fields, or between elements. What
    follows closes one object, so it is the whole one that has this field.
    """
    start = body.rfind(b',"paging":')
    with contextlib.suppress(ValueError):  # RecursionError: nobody nests a page's end that deep
        return read_json(b"{" + body[start + 1 :]) if start > 0 else None
    return None


def _groups(pages: Iterable[T]) -> Generator[list[T], None, None]:
    left = iter(pages)
    while group := list(islice(left, _PAGES)):
        yield group


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def until(raw: pa.RecordBatch, cursor: str, last: dt.datetime | None) -> pa.RecordBatch:
    """The records whose *cursor* is not after *last* (UTC, without zone), and those without one."""
    if last is None:
        return raw
    column = _property(raw, cursor)
    if pc.all(pc.match_substring_regex(column, _PLAIN), skip_nulls=True).as_py():
        with contextlib.suppress(pa.ArrowInvalid):  # a day or an hour that no calendar has
            moments = pc.cast(column, pa.timestamp("us", "UTC"))
            fits = pc.less_equal(moments, pa.scalar(last.replace(tzinfo=dt.UTC), pa.timestamp("us", "UTC")))
            return _where(raw, pc.fill_null(fits, True))
    found = (instants.parse(value(text, "timestamp"), "iso") for text in column.to_pylist())
    return _where(raw, pa.array([at is None or at <= last for at in found], pa.bool_()))


def with_losers(raw: pa.RecordBatch, cursor: str) -> pa.RecordBatch:
    """*raw* with tombstones of what was merged behind the record that it was merged into."""
    column = raw[MERGED]
    order: list[int] = []
    added: list[Record] = []
    for row, text in enumerate(column.to_pylist()) if pc.any(pc.not_equal(column, "")).as_py() else ():
        order.append(row)
        winner = {
            "id": raw["id"][row].as_py(),
            "properties": {MERGED: text, cursor: _property(raw, cursor)[row].as_py()},
        }
        for loser in losers(winner, cursor) if text else ():
            order.append(raw.num_rows + len(added))
            added.append(loser)
    if not added:
        return raw
    return _together([raw, raw_of(added, raw.schema.names[len(OWN) :])]).take(pa.array(order))


def in_batches(pages: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    """The rows of *pages* in batches of *size* rows; the last one has fewer."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for page in pages:
        left = page
        while rows + left.num_rows >= size:
            yield _together([*waiting, left.slice(0, size - rows)])
            left = left.slice(size - rows)
            waiting, rows = [], 0
        if left.num_rows:
            waiting.append(left)
            rows += left.num_rows
    if waiting:
        yield _together(waiting)


def _property(raw: pa.RecordBatch, name: str) -> pa.Array[Any]:
    return raw[name] if name in raw.schema.names[len(OWN) :] else pa.nulls(raw.num_rows, _TEXT)


def _together(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    whole = pa.Table.from_batches(parts).combine_chunks()
    return whole.to_batches()[0] if whole.num_rows else parts[0]


def _where(raw: pa.RecordBatch, wanted: Any) -> pa.RecordBatch:
    return raw if pc.all(wanted).as_py() else raw.filter(wanted)
