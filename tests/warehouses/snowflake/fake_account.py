"""fakesnow as an account of Snowflake: what runs here is a translation to DuckDB, not Snowflake."""

from __future__ import annotations

import contextlib
import uuid

from collections.abc import Iterator
from string import Template
from typing import Any
from unittest import mock

_COMMENTS = (
    "(SELECT e.comment FROM _fs_global._fs_information_schema._fs_tables_ext e"
    " WHERE e.ext_table_catalog = database_name AND e.ext_table_schema = schema_name"
    " AND e.ext_table_name = view_name) AS COMMENT"
)
_SHOWN = {
    "VIEWS": ("null::VARCHAR as COMMENT", _COMMENTS),
    "TABLES": ('to_timestamp(0)::timestamptz AS "CREATED"', 'now() AS "CREATED"'),
}
"""It keeps comments of views, but does not show them; and all that is there was made in 1970."""


@contextlib.contextmanager
def account() -> Iterator[Any]:
    """An empty account, which the driver connects to meanwhile."""
    from fakesnow import info_schema
    from fakesnow.instance import FakeSnow

    with contextlib.ExitStack() as patched:
        for what, (before, after) in _SHOWN.items():
            name = f"SQL_CREATE_INFORMATION_SCHEMA_{what}_VIEW"
            text = getattr(info_schema, name).template
            assert before in text
            patched.enter_context(mock.patch.object(info_schema, name, Template(text.replace(before, after))))
        fake = FakeSnow()
        patched.enter_context(mock.patch("snowflake.connector.connect", side_effect=fake.connect))
        yield fake
        fake.duck_conn.close()


def database() -> str:
    """A name of its own: files on stages are kept by it, beside all accounts."""
    return f"DB_{uuid.uuid4().hex.upper()}"
