"""Which export is the newest: by the time in its path, never by its text. No Airflow in here."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterable

_FORMATS = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}


def newest_export(paths: Iterable[str]) -> str | None:
    """The folder of the newest export among the paths of blobs; None if there is none.

    The folder's name is its time, of 8 or 14 digits, UTC. Other folders, such as ``latest``, do not count.

    >>> newest_export(["Delta/C/20260224/asset.parquet", "Delta/C/20260224060000/asset.parquet", "Delta/C/latest/x"])
    'Delta/C/20260224060000'
    """
    found = {}
    for path in paths:
        segments = path.split("/")[:-1]
        for depth, segment in enumerate(segments, start=1):
            time = export_time(segment)
            if time is not None:
                found[time] = "/".join(segments[:depth])
    return found[max(found)] if found else None


def export_time(segment: str) -> dt.datetime | None:
    """The time that a folder's name is; None if it is none."""
    if len(segment) not in _FORMATS or not (segment.isascii() and segment.isdigit()):
        return None
    try:
        return dt.datetime.strptime(segment, _FORMATS[len(segment)]).replace(tzinfo=dt.UTC)
    except ValueError:
        return None
