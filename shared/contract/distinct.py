"""What all cleaners share: each different text is cleaned once, and a fault names the values it is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from shared.arrow import pc
from shared.contract.cast import Cast, Fault
from shared.contract.codes import Code


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanOptions:
    """What a text means where it could mean several things."""

    region: str = "US"
    """Country (ISO 3166, two letters) of phone numbers without a country code, and of postal codes."""
    decimal_mark: str = "."
    """``.`` or ``,``; the other one may group the digits of an amount."""
    day_first: bool = False
    """Whether 03/04/2025 is the third of April."""
    timezone: str = "UTC"
    """IANA name of the zone of times that have none."""
    true: tuple[str, ...] = ()
    """Further words that mean yes, in any case."""
    false: tuple[str, ...] = ()


Cleaner: TypeAlias = Callable[[Any, str, CleanOptions], Cast]
"""Different texts, trimmed, in no order that matters; the column type; options. Values and faults of each text."""

_LOOKED_AT = 1_000
_MOST_DIFFERENT = 0.8
"""Of them. In a file of events nearly all times differ."""
NULL_TEXT = pa.scalar(None, pa.string())


def trimmed(texts: pa.Array[Any]) -> pa.Array[Any]:
    """*texts* without the blanks around them; NULL for one of nothing else."""
    plain = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.equal(plain, ""), NULL_TEXT, plain)  # type: ignore[no-any-return]  # Any


def of_distinct(texts: pa.Array[Any], cleaner: Cleaner, kind: str, options: CleanOptions) -> Cast:
    """*cleaner* applied to *texts*, once for each that repeats. Blanks around a text go; an empty one is NULL."""
    if _differ(texts):
        return cleaner(trimmed(texts), kind, options)
    encoded: Any = texts.dictionary_encode()
    distinct: Any = trimmed(encoded.dictionary).dictionary_encode()
    cleaned = cleaner(distinct.dictionary, kind, options)
    places = pc.take(distinct.indices, encoded.indices)
    faults = (Fault(one.code, one.reason, pc.fill_null(pc.take(one.where, places), False)) for one in cleaned.faults)
    return Cast(pc.take(cleaned.values, places), tuple(faults))


def _differ(texts: pa.Array[Any]) -> bool:
    """Whether so few texts repeat that finding out which would cost more than cleaning all, by the first of them."""
    looked_at = texts[:_LOOKED_AT]
    return len(looked_at) == _LOOKED_AT and len(pc.unique(looked_at)) > _MOST_DIFFERENT * _LOOKED_AT


def checked(values: pa.Array[Any], *found: tuple[Code, str, pa.BooleanArray]) -> Cast:
    """*values* with the faulty ones set to NULL. A value has the first of the faults *found* for it."""
    faults: list[Fault] = []
    taken: Any = None
    for code, reason, mask in found:
        where = pc.fill_null(mask, False)
        where = where if taken is None else pc.and_not(where, taken)
        if where.true_count:
            faults.append(Fault(code, reason, where))
            taken = where if taken is None else pc.or_(taken, where)
    plain = values if taken is None else pc.if_else(taken, pa.scalar(None, values.type), values)
    return Cast(plain, tuple(faults))


def matches(texts: pa.Array[Any], pattern: str) -> Any:
    """Where *texts* match (RE2); NULL does not."""
    return pc.fill_null(pc.match_substring_regex(texts, pattern), False)
