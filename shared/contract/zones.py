"""The time zones that a text may name, and local times in them as UTC."""

from __future__ import annotations

import re
import zoneinfo

from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa

from shared.arrow import pc

PATTERN = r"[A-Za-z]{1,5}|[A-Za-z]+(?:/[A-Za-z0-9_+-]+){1,2}|[+-]\d\d(?::?\d\d)?"
_FIXED = {
    "Z": 0, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip
"""Hours from UTC. CST is that of the United States."""
_MINUTE = 60_000_000
"""Microseconds."""


class Instants(NamedTuple):
    values: pa.Array[Any]
    """UTC, naive; NULL where the zone is unknown."""
    unknown: pa.BooleanArray


def in_utc(local: pa.Array[Any], names: Any, timezone: str) -> Instants:
    """*local* (naive, microseconds) in the zones of *names* (a dictionary), in *timezone* where they are empty."""
    zones = [_zone(name) if name else timezone for name in names.dictionary.to_pylist()]
    offsets = [0 if zone == "UTC" else zone if isinstance(zone, int) else None for zone in zones]
    values: Any = local
    if any(offsets) or None in offsets:
        shift = pc.take(pa.array(offsets, pa.int64()), names.indices)
        values = pc.subtract(local.view(pa.int64()), shift).view(pa.timestamp("us"))
    for region in sorted({zone for zone in zones if isinstance(zone, str) and zone != "UTC"}):
        here = pc.take(pa.array([zone == region for zone in zones]), names.indices)
        values = pc.replace_with_mask(values, here, _in_region(pc.filter(local, here), region))
    unknown = pa.array([zone is None for zone in zones], pa.bool_())
    return Instants(values, pc.take(unknown, names.indices))


def _in_region(local: Any, region: str) -> Any:
    # The same choice as in shared.contract.cast for an hour that a clock change repeats or skips.
    aware: Any = pc.assume_timezone(local, region, ambiguous="earliest", nonexistent="latest")
    return aware.view(pa.int64()).view(pa.timestamp("us"))


def _zone(name: str) -> int | str | None:
    """Microseconds from UTC, the IANA name of a region, or None for a zone that is not known."""
    fixed = _FIXED.get(name.upper())
    if fixed is not None:
        return fixed * 60 * _MINUTE
    if name[0] in "+-":
        return _offset(name)
    return _regions().get(name.lower())


def _offset(text: str) -> int | None:
    found = re.fullmatch(r"([+-])(\d\d):?(\d\d)?", text)
    hours, minutes = (int(found[2]), int(found[3] or 0)) if found else (24, 0)
    if not found or hours > 23 or minutes > 59:
        return None
    return (-1 if found[1] == "-" else 1) * (hours * 60 + minutes) * _MINUTE


@cache
def _regions() -> dict[str, str]:
    """IANA names with a slash by their lower case; one word alone may mean several zones."""
    return {name.lower(): name for name in zoneinfo.available_timezones() if "/" in name}
