"""One call of the warehouse: a DuckDB in memory, a folder of its own, and a sign-in that lasts that long."""

from __future__ import annotations

import contextlib
import tempfile

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from shared.errors import IngestError
from shared.warehouses.embedded.files import file_literal
from shared.warehouses.embedded.session import ALIAS, translated
from shared.warehouses.lake.errors import Lost, damaged
from shared.warehouses.lake.files import DataFile
from shared.warehouses.lake.names import DATA
from shared.warehouses.lake.storage import Storage
from shared.warehouses.lake.table import LakeTable

_GONE = ("No files found", "No such file")


class Work:
    """What the steps of one call share."""

    def __init__(self, storage: Storage, connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:
        self.storage, self.connection, self.scratch = storage, connection, scratch
        self.now = scratch.stat().st_mtime
        """When the call began, by this machine's clock, in seconds since 1970: for what the log says, not for ages."""

    def discard(self, paths: Iterable[str]) -> None:
        """Delete files that were written in vain, if that is possible: what went wrong before is what matters."""
        with contextlib.suppress(IngestError, OSError):
            self.storage.delete(paths)

    def table(self, path: str) -> LakeTable:
        return LakeTable(self.storage, path, self.scratch, self.now)

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
    with translated():
        try:
            yield
        except (duckdb.IOException, duckdb.InvalidInputException, duckdb.SerializationException) as error:
            line = str(error).strip().splitlines()[0]
            if f"/{DATA}" not in line:
                raise
            if any(words in line for words in _GONE):
                raise Lost(line) from error
            raise damaged(line) from error
