"""What the path of an exported file says about it. Pure.

Three layouts, matched on the last segments of a file's path:

    Full|Delta/<client>/<timestamp or latest>/<table>.parquet
    <timestamp>/<dataset>_dump_<x>/<guid>.parquet                 all files of one folder are parts of one table
    anything/<table>.parquet                                      with the kind from --type

A timestamp is 14 digits (yyyymmddHHMMSS) or 8 (yyyymmdd), in UTC.
"""

from __future__ import annotations

import re

from typing import NamedTuple

from shared.model import Kind
from shared.sources.times import timestamp

_KINDS: dict[str, Kind] = {"full": "full", "delta": "delta"}
_DUMP = re.compile(r"(?P<dataset>.+?)_dump_.*", re.IGNORECASE)
_ENDING = ".parquet"


class ExportPath(NamedTuple):
    """What a path says of an exported file."""

    table: str
    """Lower-case name of the table."""
    kind: Kind | None
    client: str | None
    stamp: str | None
    """Time of the export, from the path; None for ``latest`` and for folders without a timestamp."""
    part: bool
    """Whether it is one of possibly several files of its table."""
    folder: str
    """The folder the file is in."""
    export: str
    """The folder that is the export; for a dump, that of its timestamp."""


def export_path(path: str) -> ExportPath | None:
    """What *path* says; None if it is not a Parquet file by name.

    >>> export_path("exports/Full/Acme/20260224120000/Location.parquet")[:5]
    ('location', 'full', 'Acme', '2026-02-24T12:00:00.000000', False)
    >>> export_path("20260224/outlet_dump_1/7f3a.parquet")[:5]
    ('outlet', 'full', None, '2026-02-24T00:00:00.000000', True)
    """
    *folders, name = path.split("/")
    if not name.lower().endswith(_ENDING) or name.startswith((".", "_")):
        return None
    table = name[: -len(_ENDING)].lower()
    folder = "/".join(folders)
    above = ["", "", "", *folders]
    dump = _DUMP.fullmatch(above[-1])
    if dump and timestamp(above[-2]):
        # A dump is the whole dataset of its time; the listing decides whether all of it has arrived.
        return ExportPath(
            dump["dataset"].lower(), "full", None, timestamp(above[-2]), True, folder, "/".join(folders[:-1])
        )
    kind = _KINDS.get(above[-3].lower())
    stamp = timestamp(above[-1])
    if kind and (stamp or above[-1].lower() == "latest"):
        return ExportPath(table, kind, above[-2], stamp, False, folder, folder)
    return ExportPath(table, None, None, stamp, False, folder, folder)
