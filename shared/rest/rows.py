"""JSON records become Arrow: types are inferred from what is there, widened as more is seen, and never narrowed.

| values of a field                        | column type                                                       |
|------------------------------------------|-------------------------------------------------------------------|
| null alone                               | none yet                                                          |
| true, false                              | boolean                                                           |
| whole numbers                            | bigint; decimal(38,0) beyond 64 bits                              |
| numbers, some with a fraction            | decimal with 4, 10 or 18 digits of fraction; double beyond that   |
| texts, whatever they look like           | text                                                              |
| objects, lists                           | text, as JSON                                                     |
| instants that were made of numbers       | timestamp                                                         |
| more than one of these rows              | text, numbers and true and false as JSON writes them              |

Numbers are read exactly, as decimals. The parser is the standard library's: docs/decisions/0045-types-of-json.md.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa

from shared.contract import types

Record: TypeAlias = "Mapping[str, Any]"

_SCALES = (0, 4, 10, 18)
"""Steps, so that one more digit is not one more change of a column."""
_DIGITS = 19
"""Of the largest bigint: a decimal keeps room for them, so that whole numbers fit in whatever comes first."""
_MOST_DIGITS = 38
_BIGINT = 1 << 63


def read_json(body: bytes) -> Any:
    """*body* as JSON, numbers with a fraction as Decimal. ValueError if it is none."""
    try:
        return json.loads(body.decode("utf-8-sig"), parse_float=Decimal)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def at(value: Any, path: str) -> Any:
    """What is at a dotted *path* of JSON, itself if that is empty; None if nothing is. -1 is the last of a list.

    >>> at({"paging": {"next": {"after": "7"}}}, "paging.next.after"), at([{"a.b": 1}, {"a": 2}], "0.a.b")
    ('7', 1)
    >>> at([{"id": 1}, {"id": 2}], "-1.id"), at([], "-1.id")
    (2, None)
    """
    if not path:
        return value
    if isinstance(value, dict):
        if path in value:
            return value[path]
        name, _, rest = path.partition(".")
        return at(value[name], rest) if rest and name in value else None
    name, _, rest = path.partition(".")
    if isinstance(value, list) and re.fullmatch(r"-?\d+", name) and -len(value) <= int(name) < len(value):
        return at(value[int(name)], rest)
    return None


def without(value: Any, names: Collection[str]) -> Any:
    """JSON *value* without the fields of those *names*, however deep they are.

    >>> without({"id": 1, "credential": {"token": "x"}, "steps": [{"credential": 2}]}, {"credential"})
    {'id': 1, 'steps': [{}]}
    """
    if isinstance(value, dict):
        return {name: without(one, names) for name, one in value.items() if name not in names}
    return [without(one, names) for one in value] if isinstance(value, list) else value


@dataclass(slots=True)
class _Seen:
    """What the values of one field were."""

    kinds: set[type] = field(default_factory=set)
    whole: int = 0
    """Digits before the point of the largest number, and after it of the longest."""
    scale: int = 0
    large: bool = False

    def look(self, values: Sequence[Any]) -> None:
        kinds = set(map(type, values))
        self.kinds |= kinds
        if int in kinds:
            numbers = [abs(value) for value in values if type(value) is int]
            self.large = self.large or max(numbers) >= _BIGINT
            self.whole = max(self.whole, len(str(max(numbers))) if max(numbers) < 10**60 else 60)
        if Decimal in kinds:
            for value in values:
                if type(value) is Decimal:
                    _, digits, exponent = value.as_tuple()
                    places = exponent if isinstance(exponent, int) else 0
                    self.scale = max(self.scale, -places)
                    self.whole = max(self.whole, len(digits) + places)

    @property
    def column(self) -> str:
        kinds = {dict if kind in (dict, list) else kind for kind in self.kinds} - {type(None)}
        if not kinds:
            return types.NULL
        if kinds in ({bool}, {dt.datetime}):
            return "boolean" if kinds == {bool} else "timestamp"
        if kinds <= {int, Decimal, float}:
            return self._number(kinds)
        return "text"

    def _number(self, kinds: set[type]) -> str:
        if kinds == {int} and not self.large:
            return "bigint"
        scale = next((scale for scale in _SCALES if self.scale <= scale), None)
        if float in kinds or scale is None or self.whole + scale > _MOST_DIGITS:
            return "double" if kinds != {int} else "text"
        if kinds == {int}:
            return f"decimal({_MOST_DIGITS},0)"
        scale = max(scale, _SCALES[1])
        return f"decimal({min(_MOST_DIGITS, max(self.whole, _DIGITS) + scale)},{scale})"


class Kinds:
    """The types of all fields of the records that were looked at."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def look(self, records: Sequence[Record]) -> None:
        """Take *records* into account, too."""
        for name in dict.fromkeys(name for record in records for name in record):
            self._seen.setdefault(name, _Seen()).look([record.get(name) for record in records])

    @property
    def types(self) -> dict[str, str]:
        """Column types by field, in the order in which the fields were first seen."""
        return {name: seen.column for name, seen in self._seen.items()}

    def mixed(self) -> dict[str, list[str]]:
        """Fields whose values were of more than one kind, with the names of JSON for them."""
        names = {str: "text", bool: "true or false", dict: "object", list: "list"}
        found = {
            name: sorted({names.get(kind, "number") for kind in seen.kinds - {type(None)}})
            for name, seen in self._seen.items()
        }
        return {name: kinds for name, kinds in found.items() if len(kinds) > 1}


def schema_of(columns: Mapping[str, str]) -> pa.Schema:
    """The Arrow schema of batches with *columns* (column types by name)."""
    return pa.schema(
        [(name, pa.null() if kind == types.NULL else types.to_arrow(kind)) for name, kind in columns.items()]
    )


def batch_of(records: Sequence[Record], schema: pa.Schema) -> pa.RecordBatch:
    """*records* as a batch of *schema*, absent fields as NULL.

    A value that is not of its column's type makes that column text in this batch: whoever casts it finds the fault.
    """
    arrays = [_array([record.get(one.name) for record in records], one.type) for one in schema]
    return pa.RecordBatch.from_arrays(arrays, names=schema.names)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array[Any]:
    if pa.types.is_string(kind):
        return texts(values)
    found = set(map(type, values)) - {type(None)}
    if pa.types.is_null(kind) and not found:
        return pa.nulls(len(values))
    for is_kind, fits, convert in _ARRAYS:
        if is_kind(kind) and found <= fits:
            try:
                return pa.array(values if convert is None else list(map(convert, values)), kind)
            except (pa.ArrowInvalid, OverflowError):
                break
    return texts(values)


def _decimal(value: Any) -> Any:
    return None if value is None else Decimal(value)


def _float(value: Any) -> Any:
    return None if value is None else float(value)


_ARRAYS: tuple[tuple[Callable[[pa.DataType], bool], set[type], Callable[[Any], Any] | None], ...] = (
    (pa.types.is_boolean, {bool}, None),
    (pa.types.is_integer, {int}, None),
    (pa.types.is_decimal, {int, Decimal}, _decimal),
    (pa.types.is_floating, {int, Decimal, float}, _float),
    (pa.types.is_timestamp, {dt.datetime}, None),
)
"""Which values become which arrays as they are, or converted. Everything else becomes text."""


def texts(values: Sequence[Any]) -> pa.Array[Any]:
    """*values* as text, see ``as_text``."""
    with contextlib.suppress(pa.ArrowTypeError, UnicodeEncodeError):  # something else than text, or half a character
        return pa.array(values, pa.string())
    found = [value if value is None or type(value) is str else as_text(value) for value in values]
    try:
        return pa.array(found, pa.string())
    except UnicodeEncodeError:  # which JSON can write and UTF-8 cannot
        return pa.array([None if text is None else text.encode("utf-8", "replace").decode() for text in found])


def as_text(value: Any) -> str:
    """A value of JSON as text: a text as it is, all others as JSON writes them.

    >>> as_text("a"), as_text(True), as_text([1, Decimal("1.50")]), as_text(Decimal("1.50"))
    ('a', 'true', '[1,1.5]', '1.50')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_as_json)


def _as_json(value: Any) -> Any:
    return str(value) if isinstance(value, dt.datetime) else float(value)
