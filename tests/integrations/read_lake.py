"""Run by an environment of the readers: read a table of a lake as docs/lake.md says, and print its rows as JSON.

Arguments: a reader, the folder of a table, and the page. The reader's code block is run with the folder in place of
``lake/shop/orders``; what it leaves as ``rows`` is taken.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import re
import sys

from pathlib import Path
from typing import Any

TABLE = "lake/shop/orders"


def main(reader: str, table: str, page: str) -> None:
    text = Path(page).read_text(encoding="utf-8")
    (code,) = re.findall(rf"^### {re.escape(reader)}\n.*?^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert TABLE in code, code
    if reader == "DuckDB":
        _install_delta()
    names: dict[str, Any] = {}
    exec(compile(code.replace(TABLE, table), reader, "exec"), names)  # noqa: S102 - a block of our own page
    print(json.dumps([{key: plain(value) for key, value in row.items()} for row in _rows(names["rows"])]))


def _install_delta() -> None:
    """DuckDB's extension from its package, so that the block need not download it."""
    import duckdb
    import duckdb_ext

    (file,) = Path(next(iter(duckdb_ext.__path__))).rglob("delta.duckdb_extension")
    duckdb.sql(f"INSTALL '{file}'")


def _rows(found: Any) -> list[dict[str, Any]]:
    """Of a data frame of pandas, polars or Spark, a table of Arrow, or a relation of DuckDB."""
    for method in ("toArrow", "to_arrow_table", "to_arrow", "to_pylist"):
        if hasattr(found, method):
            made = getattr(found, method)()
            return made if isinstance(made, list) else list(made.to_pylist())
    return list(found.astype(object).where(found.notna(), None).to_dict("records"))


def plain(value: Any) -> Any:
    """A value as text that does not depend on who read it: instants in UTC without zone, numbers by value."""
    if isinstance(value, dt.datetime):
        moment = value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value
        return moment.isoformat(timespec="microseconds")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return repr(value)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
