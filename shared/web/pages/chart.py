"""A small chart of rows per run as SVG paths: a bar for each run, on a scale of square roots. Pure."""

from __future__ import annotations

import math

from collections.abc import Sequence
from typing import NamedTuple

from shared.pipeline.status import Point
from shared.text import counted

HEIGHT, _BAR, _GAP = 24, 4, 2
_LOWEST = 2.0
"""Height of a run without rows: it is seen that there was one."""


class Chart(NamedTuple):
    """What an SVG element needs."""

    width: int
    done: str
    """Path of the bars of runs that were done."""
    failed: str
    label: str


def chart(points: Sequence[Point]) -> Chart:
    """The chart of the runs, oldest first.

    >>> chart([Point("2026-02-24T12:00:00", 4, False), Point("2026-02-25T12:00:00", 1, True)])
    Chart(width=12, done='M0 24v-24h4v24z', failed='M6 24v-12h4v12z', label='2 runs, 1 failed, at most 4 rows')
    """
    most = max((point.rows for point in points), default=0)
    bars = [(_bar(place, point.rows, most), point.failed) for place, point in enumerate(points)]
    failed = sum(point.failed for point in points)
    parts = [counted(len(points), "run"), *([f"{failed} failed"] if failed else []), f"at most {counted(most, 'row')}"]
    return Chart(
        width=len(points) * (_BAR + _GAP), done="".join(bar for bar, wrong in bars if not wrong),
        failed="".join(bar for bar, wrong in bars if wrong), label=", ".join(parts),
    )  # fmt: skip


def _bar(place: int, rows: int, most: int) -> str:
    height = max(_LOWEST, HEIGHT * math.sqrt(rows / most)) if most else _LOWEST
    return f"M{place * (_BAR + _GAP)} {HEIGHT}v-{height:.3g}h{_BAR}v{height:.3g}z"
