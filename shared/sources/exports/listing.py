"""What a store's listing has of exports: the table, kind, time and files of each."""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TypeAlias

from shared.errors import ConfigError
from shared.ids import work_id
from shared.model import Kind, Unit, WorkItem
from shared.sources.exports.choice import Export, SkippedExport
from shared.sources.exports.layout import ExportPath, export_path
from shared.sources.times import modified, refuse_future
from shared.stores import File, Store

_Files: TypeAlias = "list[tuple[ExportPath, File]]"
"""The files of one table of one export."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindOptions:
    """What the operator or a setting says of the exports; it overrides what their paths say."""

    kind: Kind | None = None
    client: str | None = None
    exported_at: str | None = None
    tables: tuple[str, ...] = ()
    settle_seconds: float = 0
    """How long a folder of part files must have been unchanged to count as complete."""
    ahead_seconds: float = 86_400
    """How far in the future an export's time may be: clocks differ, but no later export could ever win over it."""


def find_exports(
    store: Store, options: FindOptions, now: dt.datetime
) -> tuple[list[Export], list[SkippedExport]]:  # fmt: skip
    """Every table of every export below the store's location, and those whose kind is unknown.

    *now* (aware) decides whether a folder has settled. ConfigError if there is nothing to load, if the options
    contradict a path, or if two files claim to be the same table of the same export.
    """
    groups = _groups(store, options)
    _refuse_unless_found(groups, options)
    exports: list[Export] = []
    skipped: list[SkippedExport] = []
    for files in groups.values():
        export = _export(files, options, now)
        if _has_kind(files, options):
            exports.append(export)
        else:
            skipped.append(SkippedExport(export, "its folder does not say whether it is a full or a delta (--type)"))
    if not exports:
        raise ConfigError(
            f"{skipped[0].export.folder} does not say whether it is a full or a delta",
            fix="Add --type full or --type delta",
        )
    if options.exported_at and len({export.folder for export in exports}) > 1:
        raise ConfigError(
            "the folder has more than one export, so --exported-at cannot be the time of all",
            fix="Load them one by one with --exported-at",
        )
    return exports, skipped


def valid_exports(
    store: Store, options: FindOptions, now: dt.datetime, on_error: Callable[[ConfigError], None]
) -> Iterator[Export]:
    """As ``find_exports``, but an export that would be refused there is reported to *on_error* and left out."""
    for files in _groups(store, options).values():
        try:
            export = _export(files, options, now)
        except ConfigError as error:
            on_error(error)
        else:
            if _has_kind(files, options):
                yield export


def _groups(store: Store, options: FindOptions) -> dict[tuple[str, str], _Files]:
    """Files by export and table."""
    groups: dict[tuple[str, str], _Files] = {}
    for file in store.list():
        path = export_path(file.name)
        if path and (not options.tables or path.table in options.tables):
            groups.setdefault((path.export, path.table), []).append((path, file))
    return groups


def _refuse_unless_found(groups: Collection[tuple[str, str]], options: FindOptions) -> None:
    missing = sorted(set(options.tables) - {table for _, table in groups})
    if missing or not groups:
        wanted = f" for {', '.join(missing)}" if missing else ""
        raise ConfigError(f"there is no Parquet file{wanted} in that folder", fix="Correct the path or --tables")


def _has_kind(group: _Files, options: FindOptions) -> bool:
    return bool(options.kind or group[0][0].kind)


def _export(group: _Files, options: FindOptions, now: dt.datetime) -> Export:
    path, files = group[0][0], tuple(file for _, file in group)
    kind = options.kind or path.kind or "delta"
    _refuse_contradictions(group, options)
    exported_at = options.exported_at or path.stamp or modified(files)
    refuse_future(path.folder, exported_at, now + dt.timedelta(seconds=options.ahead_seconds))
    settled = not path.part or options.kind == "full" or _settled(files, options.settle_seconds, now)
    return Export(
        table=path.table, kind=kind, client=path.client or options.client, exported_at=exported_at,
        complete=kind == "full" and settled and exported_at is not None, folder=path.folder, files=files,
        settled=settled, note=_note(kind, exported_at, settled=settled),
    )  # fmt: skip


def _refuse_contradictions(group: _Files, options: FindOptions) -> None:
    path, folders = group[0][0], sorted({path.folder for path, _ in group})
    if options.kind == "full" and path.kind == "delta":
        raise ConfigError(
            f"{path.folder} is a delta: loaded as a full it would delete every row it does not contain",
            fix="Leave out --type full",
        )
    if len(folders) > 1:
        raise ConfigError(
            f"table {path.table} has several dumps of one time: {', '.join(folders)}",
            fix="Keep one, or join their files",
        )
    if len(group) > 1 and not path.part:
        raise ConfigError(
            f"{path.folder} has two files for table {path.table}: {', '.join(file.name for _, file in group)}",
            fix="Keep one of them",
        )


def _settled(files: Iterable[File], seconds: float, now: dt.datetime) -> bool:
    return max(file.modified for file in files) + seconds <= now.timestamp()


def _note(kind: Kind, exported_at: str | None, *, settled: bool) -> str | None:
    if kind != "full" or (settled and exported_at):
        return None
    reason = "part files may still be arriving" if not settled else "its time is unknown (see --exported-at)"
    return f"merged as a delta: {reason}"


def export_unit(export: Export, store: Store) -> Unit:
    """The unit of work that loads *export*. Reads local files once to hash their content."""
    files = sorted(export.files, key=lambda file: file.name)
    return Unit(
        kind=export.kind,
        work_items=tuple(WorkItem(_work_id(export, file, store), file.name) for file in files),
        files=tuple(asdict(file) for file in files),
        exported_at=export.exported_at,
        complete=export.complete,
        client=export.client,
        note=export.note,
    )


def _work_id(export: Export, file: File, store: Store) -> str:
    """A part that was merged before its folder had settled is new work once it has: then absences count."""
    etag = store.etag(file)
    return work_id(file.name, etag if export.settled else f"{etag} of an unsettled folder")
