"""A Delta table: its current version, and commits to it. Nothing is written but new files and the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from shared.errors import ConfigError
from shared.warehouses.lake import types
from shared.warehouses.lake.errors import Overtaken, too_new, translated
from shared.warehouses.lake.files import DataFile
from shared.warehouses.lake.names import DATA, DAY
from shared.warehouses.lake.storage import Storage

_UNDERSTOOD = {"appendOnly", "invariants", "timestampNtz", "v2Checkpoint"}
"""Features of tables that do not change what files hold, or how they are to be written."""
_PROPERTIES = {
    "delta.checkpointInterval": "20",
    "delta.setTransactionRetentionDuration": "interval 30 days",
    "delta.logRetentionDuration": "interval 30 days",
}
_INFO = "sluice"
"""Key of what a commit says about its run."""


class Snapshot(NamedTuple):
    """One version of a table."""

    path: str
    table: DeltaTable
    version: int
    columns: Mapping[str, str]
    """Column types by name, in order."""
    files: Sequence[DataFile]
    partitioned_by: Sequence[str]
    description: str | None

    def has_run(self, run: str) -> bool:
        """Whether a commit of the last 30 days was made by *run*."""
        return self.table.transaction_version(_app(run)) is not None

    def last_runs(self, limit: int) -> list[Mapping[str, Any]]:
        """What the last commits say about their runs, newest first; commits of upkeep say nothing."""
        said = (entry[_INFO] for entry in self.table.history(limit) if _INFO in entry)
        return [one for one in said if "run" in one]


class Change(NamedTuple):
    """What a commit does."""

    columns: Mapping[str, str]
    """All the table has after it."""
    added: Sequence[AddAction] = ()
    removed: Sequence[DataFile] = ()
    run: str | None = None
    """The run that makes it: the table remembers it for 30 days."""
    info: Mapping[str, Any] | None = None
    partition_by: Sequence[str] = ()
    description: str | None = None
    rewritten: bool = False
    """Whether *added* replaces everything, in columns of other types."""
    same_rows: bool = False
    """Whether *added* has the rows of *removed* and no others: streams of changes then skip it."""


class LakeTable:
    """The table at *path* of a lake."""

    def __init__(self, storage: Storage, path: str, scratch: Path, now: float) -> None:
        """*now* is in seconds since 1970."""
        self._storage, self.path, self._scratch, self._now = storage, path, scratch, int(now * 1000)

    def snapshot(self) -> Snapshot | None:
        """The current version; None if there is no table. ConfigError if it is one that we cannot work with."""
        try:
            with translated(self.path):
                table = DeltaTable(self._storage.pull_log(self.path, self._scratch))
                return self._described(table)
        except TableNotFoundError:
            return None

    def commit(self, before: Snapshot | None, change: Change) -> None:
        """Commit *change* of version *before*. Overtaken if another commit came first: then nothing is done."""
        with translated(self.path):
            try:
                self._commit(before, change)
                self._storage.push_log(self.path, self._scratch)
            except (Exception, BaseException) as error:
                if isinstance(error, KeyboardInterrupt) or not self._is_in(change):
                    raise

    def set_property(self, before: Snapshot, name: str, value: str) -> None:
        """Commit a property of the table that version *before* lacks. Overtaken as for ``commit``."""
        with translated(self.path):
            before.table.alter.set_table_properties({name: value}, commit_properties=self._properties())
            self._storage.push_log(self.path, self._scratch)

    def write_checkpoint(self, of: Snapshot) -> None:
        """So that readers need no entry of the log from before that version."""
        with translated(self.path):
            of.table.create_checkpoint()
            self._storage.push_log(self.path, self._scratch)

    def _is_in(self, change: Change) -> bool:
        """Whether a commit that seems to have failed has been made nevertheless: its answer alone was lost."""
        if not change.added:
            return False
        now = self.snapshot()
        return now is not None and {one.path for one in change.added} <= {one.path for one in now.files}

    def _commit(self, before: Snapshot | None, change: Change) -> None:
        if before is None:
            self._create(change)
            return
        table = before.table
        new = {name: kind for name, kind in change.columns.items() if name not in before.columns}
        if new and not change.rewritten:
            table.alter.add_columns([types.field(*one) for one in new.items()], commit_properties=self._properties())
            if table.version() != before.version + 1:
                raise Overtaken(f"version {table.version()} is there already")
        actions = [] if change.rewritten else [self._removed(one, change) for one in change.removed]
        if actions or change.added or change.run or change.rewritten:
            table.create_write_transaction(
                [*change.added, *actions],
                mode="overwrite" if change.rewritten else "append",
                schema=types.schema(change.columns),
                partition_by=list(before.partitioned_by),
                commit_properties=self._properties(change),
            )

    def _create(self, change: Change) -> None:
        prefix = f"{self.path}/"
        strangers = [one.path for one in self._storage.entries(prefix) if DATA not in one.path.rpartition("/")[2]]
        if strangers:
            raise ConfigError(
                f"{self.path} of the lake is no table, but holds files, such as {strangers[0]}",
                fix="Move them away, or name another folder in WAREHOUSE_URL",
            )
        create_table_with_add_actions(
            self._storage.pull_log(self.path, self._scratch),
            types.schema(change.columns),
            list(change.added),
            mode="error",
            partition_by=list(change.partition_by),
            description=change.description,
            configuration=_PROPERTIES,
            commit_properties=self._properties(change),
        )

    def _removed(self, file: DataFile, change: Change) -> RemoveAction:
        return RemoveAction(
            path=file.path,
            data_change=not change.same_rows,
            deletion_timestamp=self._now,
            size=file.size,
            partition_values=dict(file.partition),
        )

    def _properties(self, change: Change | None = None) -> CommitProperties:
        """Of a commit that fails if there is any other since: what it does was computed from the version before."""
        if change is None or change.info is None:
            return CommitProperties(max_commit_retries=0)
        return CommitProperties(
            custom_metadata={_INFO: dict(change.info)},
            max_commit_retries=0,
            app_transactions=[Transaction(_app(change.run), 1, self._now)] if change.run else None,
        )

    def _described(self, table: DeltaTable) -> Snapshot:
        protocol, meta = table.protocol(), table.metadata()
        features = {*(protocol.reader_features or ()), *(protocol.writer_features or ())}
        if unknown := sorted(features - _UNDERSTOOD):
            raise too_new(self.path, f"table features {', '.join(unknown)}")
        if not features and (protocol.min_reader_version > 1 or protocol.min_writer_version > 2):
            versions = f"{protocol.min_reader_version} and {protocol.min_writer_version}"
            raise too_new(self.path, f"protocol versions {versions}")
        if meta.partition_columns not in ([], [DAY]):
            raise too_new(self.path, f"partitions by {', '.join(meta.partition_columns)}")
        system, _, name = self.path.partition("/")
        columns = types.columns(table.schema(), (system, name))
        files = list(_files(pa.table(table.get_add_actions(flatten=True)), meta.partition_columns))
        return Snapshot(self.path, table, table.version(), columns, files, meta.partition_columns, meta.description)


def _files(actions: pa.Table, partitioned_by: Sequence[str]) -> Iterator[DataFile]:
    for row in actions.to_pylist():
        ends: dict[str, dict[str, Any]] = {"min.": {}, "max.": {}, "partition.": {}}
        for name, value in row.items():
            for start, known in ends.items():
                if value is not None and name.startswith(start):
                    known[name.removeprefix(start)] = value
        partition = {name: _text(ends["partition."].get(name)) for name in partitioned_by}
        yield DataFile(row["path"], row["size_bytes"], row["num_records"], partition, ends["min."], ends["max."])


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _app(run: str) -> str:
    return f"sluice.{run}"
