"""One call of the warehouse: a DuckDB in memory, a folder of its own, and a sign-in that lasts that long."""

from __future__ import annotations

import contextlib
import tempfile

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from shared.warehouses.embedded.files import file_literal
from shared.warehouses.embedded.session import ALIAS, translated
from shared.warehouses.lake.errors import Lost, damaged
from shared.warehouses.lake.files import DataFile
from shared.warehouses.lake.names import DATA
from shared.warehouses.lake.storage import Storage
from shared.warehouses.lake.table import LakeTable


class Work:
    """What the steps of one call share."""

    def __init__(self, storage: Storage, connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:
        self.storage, self.connection, self.scratch = storage, connection, scratch
        self._options = storage.options()
        self.now = scratch.stat().st_mtime
        """When the call began, by this machine's clock, in seconds since 1970."""

    def table(self, path: str) -> LakeTable:
        return LakeTable(self.storage, path, self._options, self.now)

    def data(self, table: str, files: Iterable[DataFile]) -> dict[Path, DataFile]:
        """Data files of the table at path *table*, by where they lie on this machine."""
        wanted = {f"{table}/{file.path}": file for file in files}
        found = self.storage.local(wanted, self.scratch)
        lost = [path for path in wanted if path not in found]
        if lost:
            raise Lost(lost[0])
        return {found[path]: file for path, file in wanted.items()}


@contextlib.contextmanager
def open_work(storage: Storage, config: Mapping[str, Any]) -> Iterator[Work]:
    """DuckDB spills to the folder of the call, and so do copies of remote files."""
    with tempfile.TemporaryDirectory(prefix="sluice-", ignore_cleanup_errors=True) as folder, _translated():
        connection = duckdb.connect(":memory:", config={**config, "temp_directory": f"{folder}/spill"})
        try:
            connection.execute(f'ATTACH {file_literal(Path(":memory:"))} AS "{ALIAS}"')
            connection.execute(f'USE "{ALIAS}"')
            connection.execute("SET TimeZone = 'UTC'")
            yield Work(storage, connection, Path(folder))
        finally:
            connection.close()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """DuckDB's errors in our words, with those about data files."""
    try:
        with translated():
            yield
    except (duckdb.InvalidInputException, duckdb.SerializationException) as error:
        line = str(error).strip().splitlines()[0]
        if f"/{DATA}" not in line:
            raise
        raise damaged(line) from error
