"""What becomes of a stored column when a run brings it as another type. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from shared.contract import types
from shared.contract.hidden import how
from shared.contract.names import folded
from shared.errors import DataError
from shared.model import Feed

Verb: TypeAlias = Literal["same", "widened", "declared", "text", "refused"]


class TypeChange(NamedTuple):
    verb: Verb
    """Whether the column stays, widens, is converted as the catalog declares, becomes text by policy, or none of it."""
    type: str
    """Of the column from then on; if it is refused, of what the run brings."""


def type_change(feed: Feed, name: str, stored: str, incoming: str) -> TypeChange:
    """What a column of *feed* with values of type *stored* becomes when a run has it as *incoming*.

    >>> feed = Feed(system="s", table="t", source="exports", keys=("Id",), on_type_change="text")
    >>> type_change(feed, "Size", "integer", "bigint"), type_change(feed, "Size", "double", "date")
    (TypeChange(verb='widened', type='bigint'), TypeChange(verb='text', type='text'))
    """
    if incoming == types.NULL:
        return TypeChange("same", stored)
    wider = types.widened(stored, incoming)
    if wider is not None:
        return TypeChange("same" if wider == stored else "widened", wider)
    if how(feed, name) is None:
        if is_declared(feed, name) and _can_convert(feed, name, stored, incoming):
            return TypeChange("declared", incoming)
        if feed.on_type_change == "text" and is_free(feed, name) and "binary" not in (stored, incoming):
            return TypeChange("text", "text")
    return TypeChange("refused", incoming)


def is_declared(feed: Feed, name: str) -> bool:
    """Whether the catalog declares the type of a column: the operator's word for stored values, too."""
    return folded(name) in {folded(column) for column in feed.types if column not in feed.undeclared_types}


def is_free(feed: Feed, name: str) -> bool:
    """Whether rows are not compared by a column: it is neither a key nor the cursor or the deletion flag."""
    compared = (*feed.keys, feed.cursor, feed.cursor_fallback, feed.deleted)
    return folded(name) not in {folded(one) for one in compared if one}


def conflict(feed: Feed, name: str, stored: str, incoming: str, files: Sequence[str]) -> DataError:
    """The error of a run that brings a *stored* column as a type that it cannot become."""
    if how(feed, name) is not None:
        return stored_in_clear(feed, name)
    if is_declared(feed, name):
        return DataError(
            f"column {name!r} of {feed.name} is {stored}, which cannot become {incoming} as the catalog declares",
            fix=f"Declare it {stored}, or drop table {feed.name} and load a full export with --again",
        )
    other = "text" if _can_convert(feed, name, stored, "text") else stored
    policy = ", or set on_type_change to text" if other == "text" and is_free(feed, name) else ""
    return DataError(
        f"column {name!r} of {feed.name} is {stored}, but {incoming} in {', '.join(files)}",
        fix=f"Correct the export, or declare the column {other} under types in the catalog{policy}",
    )


def stored_in_clear(feed: Feed, name: str) -> DataError:
    """The error of a run that hides a column whose stored values are not hidden."""
    return DataError(
        f"column {name!r} of {feed.name} is to be hashed or masked, but the table has values of it in clear",
        fix=f"Drop table {feed.name} and load a full export with --again",
    )


def _can_convert(feed: Feed, name: str, stored: str, declared: str) -> bool:
    """Keys are converted in place alone, which floating point and times are not."""
    if not types.can_convert(stored, declared):
        return False
    return is_free(feed, name) or declared != "text" or types.is_exact(stored)
