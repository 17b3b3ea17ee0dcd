"""Crashes of native libraries are errors of one load, not the end of the process."""

from __future__ import annotations

import asyncio
import sys
import types

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.errors import DataError
from shared.mssql import odbc
from shared.native import native_call
from shared.warehouses.azure_sql.bulk_copy import BulkCopy
from shared.warehouses.embedded.session import translated
from tests.exports import export_path, write_parquet


class PanicException(BaseException):
    """As PyO3's, which is not an Exception either."""


def panic(*_, **__):
    raise PanicException("called `Option::unwrap()` on a `None` value")


def test_panic_becomes_an_error_of_ours():
    """It names the library, and keeps the cause."""
    with pytest.raises(DataError, match="some-lib crashed: PanicException: called") as caught, native_call("some-lib"):
        panic()

    assert isinstance(caught.value.__cause__, PanicException)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, ValueError])
def test_interrupts_and_exceptions_pass(kind):
    """They are for others."""
    with pytest.raises(kind), native_call("some-lib"):
        raise kind


def test_panic_of_the_bulk_copy_driver_is_a_failure_of_bulk_copy(monkeypatch):
    """On the way to the server, and with the rows: the loader sends arrays then."""
    connection = types.SimpleNamespace(cursor=lambda: types.SimpleNamespace(bulkcopy_arrow=panic), close=lambda: None)
    driver = types.SimpleNamespace(pooling=lambda **_: None, connect=lambda *_, **__: connection)
    monkeypatch.setitem(sys.modules, "mssql_python", driver)
    where = odbc.address("mssql://app:hunter2@db.test/sales")

    copy = BulkCopy(where)
    copy.open()
    with copy, pytest.raises(DataError, match="bulk copy: DataError: mssql-python crashed"):
        copy.send("t", pa.table({"a": [1]}))
    driver.connect = panic
    with pytest.raises(DataError, match="mssql-python crashed"):
        BulkCopy(where).open()


def test_panic_of_duckdb_is_an_error_of_ours():
    """So the command line reports it in one line."""
    with pytest.raises(DataError, match="duckdb crashed"), translated():
        panic()


def test_panic_over_a_file_fails_that_file_alone(sluice, tmp_path, monkeypatch):
    """The command reports it in one line; nothing ends the process."""
    file = write_parquet(export_path(tmp_path / "exports", "full", "20260224000000", "item"), [{"ItemId": 1}])
    monkeypatch.setattr(pq, "ParquetFile", panic)

    result = sluice("load", file.parent)

    assert 1 == result.exit_code
    assert "pyarrow crashed over " in result.output
