"""Upkeep of a table: small files become large ones, sorted by key; what was replaced long ago goes; the log is short.

No row changes, and no version within the retention becomes unreadable. DuckDB writes the files, within its memory.
Loads go on meanwhile: a commit of theirs that comes first makes the step start over, and after a few times give up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging
import uuid

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote

from shared.model import FeedName
from shared.warehouses import KeysOf, TableUpkeep, Upkeep
from shared.warehouses.embedded.session import DuckDBSession
from shared.warehouses.lake import cleanup, files
from shared.warehouses.lake.errors import Overtaken
from shared.warehouses.lake.files import DataFile
from shared.warehouses.lake.names import DAY, table_path
from shared.warehouses.lake.staging import noted
from shared.warehouses.lake.storage import Entry
from shared.warehouses.lake.table import Change, Snapshot
from shared.warehouses.lake.work import Work

_log = logging.getLogger("sluice")

_LARGE = 256 << 20
"""Bytes of a file that is left as it is, and of what is put together at once."""
_FEWEST = 4
"""Small files that are put together at least: with fewer, the writing costs more than the reading gains."""
_TRIES = 3
_CLUSTERED = 0.8
"""Share of a partition's bytes that may lie in files whose keys do not overlap those of the file before."""
_RETENTION = "delta.deletedFileRetentionDuration"
_MANIFEST = "_symlink_format_manifest"
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_LOG_KEPT = dt.timedelta(days=30)
"""As the log's own retention (``delta.logRetentionDuration``) is set where a table is created."""
_UNCHECKED = 10
"""Versions since the last checkpoint that need one whatever upkeep did: an earlier one may have been interrupted."""


class Rewrite(NamedTuple):
    """Files of one partition whose rows are written anew, into as few as possible."""

    partition: Mapping[str, str | None]
    replaced: Sequence[DataFile]
    sort: bool


def tend(work: Work, feed: str, keys_of: KeysOf, options: Upkeep) -> TableUpkeep | None:
    """Do the upkeep of the table of *feed*; None if it has no table."""
    name = FeedName.parse(feed)
    path = table_path(name.system, name.table)
    before = work.table(path).snapshot()
    if before is None:
        return None
    keys = keys_of(feed, before.columns)
    rewritten, overtaken = 0, False
    if options.dry_run:
        rewritten = len(plan(before, keys, cluster=options.cluster))
    else:
        rewritten, overtaken = _rewrite_all(work, before, keys, options)
    entries = list(work.storage.entries(f"{path}/"))
    after = before if options.dry_run else _with_retention(work, before, options)
    if not options.dry_run and (options.manifest or _has_manifest(entries, path)):
        _write_manifest(work, after, entries)
    deleted = _delete_replaced(work, after, entries, options)
    if not options.dry_run:
        _shorten_log(work, after, options, changed=bool(rewritten or deleted))
    return TableUpkeep(
        table=feed, files_before=len(before.files), files_after=_files_after(before, after, keys, options),
        bytes_before=_size(before.files), bytes_after=_size(after.files), rewrites=rewritten,
        deleted_files=len(deleted), deleted_bytes=sum(deleted.values()),
        note="loads changed it all the time; the rest waits for the next upkeep" if overtaken else None,
    )  # fmt: skip


# -- what to write anew: pure


def plan(snapshot: Snapshot, keys: Sequence[str], *, cluster: bool) -> list[Rewrite]:
    """Which files of each partition to put together. With *cluster*, all of one whose files overlap in their keys."""
    found = []
    for partition, members in _partitions(snapshot):
        sort = bool(keys) and set(keys) <= snapshot.columns.keys()
        if cluster and sort and not is_clustered(members, keys[0]):
            found.append(Rewrite(partition, members, sort=True))
        else:
            found += [Rewrite(partition, some, sort) for some in together(members)]
    return found


def together(members: Sequence[DataFile]) -> list[list[DataFile]]:
    """Groups of small files, each of at most the size of a large one.

    A file that is larger than all smaller ones of its group is left out: each row is then written anew only as often
    as its file doubles in size, and not with every few rows that come.

    >>> small = [DataFile(str(size), size << 20, 1, {}, {}, {}) for size in (1, 100, 2, 1, 1, 300)]
    >>> [[file.path for file in group] for group in together(small)]
    [['1', '1', '1', '2']]
    """
    groups: list[list[DataFile]] = []
    group: list[DataFile] = []
    for file in sorted(members, key=lambda one: one.size):
        if file.size >= _LARGE // 2 or (len(group) >= _FEWEST and file.size > _size(group)):
            break
        if _size(group) + file.size > _LARGE:
            groups.append(group)
            group = []
        group.append(file)
    groups.append(group)
    return [some for some in groups if len(some) >= _FEWEST]


def is_clustered(members: Sequence[DataFile], key: str) -> bool:
    """Whether most rows lie in files whose lowest *key* is not below the highest one of the file before.

    >>> lying = lambda *spans: [DataFile("", 1, 1, {}, {"id": low}, {"id": high}) for low, high in spans]
    >>> is_clustered(lying((1, 5), (5, 9), (10, 20)), "id"), is_clustered(lying((1, 20), (2, 19)), "id")
    (True, False)
    """
    known = [file for file in members if key in file.low and key in file.high]
    if len(members) < 2:
        return True
    apart, top = 0, None
    for file in sorted(known, key=lambda one: one.low[key]):
        if top is None or file.low[key] >= top:
            apart += file.size
        top = file.high[key] if top is None else max(top, file.high[key])
    return apart >= _CLUSTERED * _size(members)


def _partitions(snapshot: Snapshot) -> Iterator[tuple[Mapping[str, str | None], list[DataFile]]]:
    found: defaultdict[tuple[tuple[str, str | None], ...], list[DataFile]] = defaultdict(list)
    for file in snapshot.files:
        found[tuple(file.partition.items())].append(file)
    for partition, members in found.items():
        yield dict(partition), members


# -- writing anew


def _rewrite_all(work: Work, before: Snapshot, keys: Sequence[str], options: Upkeep) -> tuple[int, bool]:
    """How many groups were written anew, and whether some were left because loads were faster each time."""
    snapshot, done, tries = before, 0, 0
    while todo := plan(snapshot, keys, cluster=options.cluster and not done):
        try:
            _rewrite(work, snapshot, todo[0], keys)
            done, tries = done + 1, 0
        except Overtaken as error:
            tries += 1
            _log.info("upkeep of %s anew: %s", before.path, error)
            if tries >= _TRIES:
                return done, True
        snapshot = work.table(before.path).snapshot() or snapshot
    return done, False


def _rewrite(work: Work, snapshot: Snapshot, rewrite: Rewrite, keys: Sequence[str]) -> None:
    session, attempt = DuckDBSession(work.connection), uuid.uuid4().hex
    derived = files.DAYS if DAY in snapshot.partitioned_by else {}
    data = list(work.data(snapshot.path, rewrite.replaced))
    query = files.query(session, data, snapshot.columns, derived=derived)
    if rewrite.sort:
        query = f"SELECT * FROM ({query}) ORDER BY {', '.join(session.quoted(key) for key in keys)}"  # noqa: S608 - quoted
    partition = {name: value for name, value in rewrite.partition.items() if value is not None}
    place = files.NewFiles(work.storage.folder(snapshot.path, work.scratch), attempt, partition)
    with noted(work, snapshot.path, attempt):
        made = []
        try:
            work.connection.execute(
                "SET preserve_insertion_order = true"
            )  # or the files are sorted, and their rows not
            made = files.write(session, query, snapshot.columns, place)
            _check_rows(snapshot.path, rewrite.replaced, [files.rows_of(action) for _, action in made])
            work.storage.publish(snapshot.path, place.folder, [file for file, _ in made])
            added = [dataclasses.replace(action, data_change=False) for _, action in made]
            change = Change(snapshot.columns, added, rewrite.replaced, info={"attempt": attempt}, same_rows=True)
            work.table(snapshot.path).commit(snapshot, change)
        except BaseException:
            work.storage.delete([f"{snapshot.path}/{action.path}" for _, action in made])
            raise


def _check_rows(path: str, replaced: Sequence[DataFile], made: Sequence[int]) -> None:
    """No row may be lost, whatever the library and DuckDB make of the files."""
    stored = [file.rows for file in replaced]
    if None not in stored and sum(made) != sum(map(int, filter(None, stored))):
        raise RuntimeError(f"upkeep of {path}: {sum(made)} rows were written of {stored}")


# -- what is no longer needed


def _with_retention(work: Work, before: Snapshot, options: Upkeep) -> Snapshot:
    """The current version, once the table says how long to keep what was replaced: other programs delete as well."""
    table, wanted = work.table(before.path), f"interval {options.keep // dt.timedelta(hours=1)} hours"
    snapshot = table.snapshot() or before
    for _ in range(_TRIES):
        if snapshot.table.metadata().configuration.get(_RETENTION) == wanted:
            break
        with contextlib.suppress(Overtaken):
            table.set_property(snapshot, _RETENTION, wanted)
        snapshot = table.snapshot() or before
    return snapshot


def _delete_replaced(
    work: Work, snapshot: Snapshot, entries: Sequence[Entry], options: Upkeep
) -> dict[str, int]:  # fmt: skip
    """Delete data files that no version within the retention has; their sizes by path. A dry run only names them.

    *entries* were listed before *snapshot* was read: whatever was committed in between, it has.
    """
    since = options.keep.total_seconds()
    if not cleanup.unneeded(entries, snapshot.path, {f"{snapshot.path}/{one.path}" for one in snapshot.files}, since):
        return {}  # the log need not be read
    kept = cleanup.needed(work, snapshot.path, snapshot, since)
    if kept is None:
        _log.warning("upkeep of %s deletes nothing: its log does not reach back as far as LAKE_KEEP", snapshot.path)
        return {}
    found = cleanup.unneeded(entries, snapshot.path, kept, since)
    if not options.dry_run:
        work.storage.delete(found)
    return found


def _shorten_log(work: Work, snapshot: Snapshot, options: Upkeep, *, changed: bool) -> None:
    """A checkpoint, if there is something to say in it, and no entries from before what may still be read."""
    log = list(work.storage.entries(f"{snapshot.path}/{cleanup.LOG}/"))
    last = cleanup.last_checkpoint(log)
    if last < snapshot.version and (changed or snapshot.version - last > _UNCHECKED):
        work.table(snapshot.path).write_checkpoint(snapshot)
    work.storage.delete(cleanup.obsolete(log, max(options.keep, _LOG_KEPT).total_seconds()))


def _has_manifest(entries: Sequence[Entry], path: str) -> bool:
    return any(entry.path.startswith(f"{path}/{_MANIFEST}/") for entry in entries)


def _write_manifest(work: Work, snapshot: Snapshot, entries: Sequence[Entry]) -> None:
    """A text file for each partition: its current files, one a line. Those of partitions that are gone are deleted."""
    place, table = f"{snapshot.path}/{_MANIFEST}", work.storage.address(snapshot.path)
    folder = work.storage.folder(place, work.scratch)
    written = []
    for partition, members in [*_partitions(snapshot)] or [({}, [])]:
        values = {name: quote(value or _NO_VALUE, safe="") for name, value in partition.items()}
        manifest = folder / files.NewFiles(folder, "", values).below() / "manifest"
        manifest.parent.mkdir(parents=True, exist_ok=True)
        unfinished = manifest.with_name(f".{uuid.uuid4().hex}")
        unfinished.write_text("".join(f"{table}/{unquote(one.path)}\n" for one in members), encoding="utf-8")
        written.append(unfinished.replace(manifest))
    work.storage.publish(place, folder, written)
    current = {f"{place}/{manifest.relative_to(folder).as_posix()}" for manifest in written}
    listed = [entry.path for entry in entries if entry.path.startswith(f"{place}/")]
    work.storage.delete([path for path in listed if path not in current])


def _files_after(before: Snapshot, after: Snapshot, keys: Sequence[str], options: Upkeep) -> int:
    if not options.dry_run:
        return len(after.files)
    groups = plan(before, keys, cluster=options.cluster)
    gone = sum(len(one.replaced) for one in groups)
    return len(before.files) - gone + sum(-(-_size(one.replaced) // _LARGE) for one in groups)


def _size(members: Sequence[DataFile]) -> int:
    return sum(file.size for file in members)
