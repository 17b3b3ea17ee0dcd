"""Microsoft's bulk copy from Arrow, for where there is no staging container. It has a driver of its own."""

from __future__ import annotations

import contextlib
import importlib.util

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from shared.errors import DataError
from shared.mssql.odbc import LOGIN_TIMEOUT, Address, credential
from shared.native import native_call
from shared.redaction import redact

ARRAYS = "Set WAREHOUSE_LOADER=array"
_TIMEOUT = 3_600
"""Seconds for one chunk. The driver's default, 30, ends a load on a small tier."""


class BulkCopy:
    """Rows are committed chunk by chunk. ``with`` closes it, once it is open."""

    def __init__(self, where: Address) -> None:
        self._where = where
        self._connection: Any = None

    @staticmethod
    def is_installed() -> bool:
        return importlib.util.find_spec("mssql_python") is not None

    def open(self) -> None:
        with _as_data_error():
            import mssql_python

            mssql_python.pooling(enabled=False)  # an idle connection keeps a serverless database awake
            known = credential(self._where)
            extra: dict[str, Any] = {"token_provider": known} if known else {}
            self._connection = mssql_python.connect(self._where.text(), autocommit=True, timeout=LOGIN_TIMEOUT, **extra)
            self._connection.timeout = LOGIN_TIMEOUT  # what the bulk copy's own connection waits; else 15 s

    def __enter__(self) -> BulkCopy:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(self, table: str, rows: pa.Table) -> int:
        """Copy *rows* into *table*, which is quoted already and committed; how many arrived."""
        with _as_data_error():
            done = self._connection.cursor().bulkcopy_arrow(
                table, rows, timeout=_TIMEOUT, table_lock=True, keep_nulls=True, use_internal_transaction=True
            )
        return int(done["rows_copied"])


@contextlib.contextmanager
def _as_data_error() -> Iterator[None]:
    """Everything that goes wrong as one error: the driver has kinds of its own, and rows can be sent in arrays."""
    try:
        with native_call("mssql-python"):
            yield
    except Exception as error:
        line = redact(" ".join(str(error).split()))[:400].rstrip(". ")
        raise DataError(f"bulk copy: {type(error).__name__}: {line}", fix=ARRAYS) from error
