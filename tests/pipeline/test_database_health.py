"""Deep health queries the databases that tables are read from, and waits for none of them for long."""

from __future__ import annotations

import socket

from contextlib import contextmanager
from typing import Any

import pytest

from shared.pipeline import checks
from tests.advice import advises
from tests.exports import open_test_app

pytestmark = pytest.mark.usefixtures("in_a_hurry")
CATALOG = """
[system]
name = "shop"
source = "csv"
[tables]
item = { source = "sql", keys = ["Id"] }
"""


def health(tmp_path, url: str | None, patience: float = 30.0) -> list[Any]:
    (tmp_path / "catalog").mkdir(exist_ok=True)
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG)
    known = {} if url is None else {"SHOP_DATABASE_URL": url}
    app = open_test_app(tmp_path, CATALOG_PATH=str(tmp_path / "catalog"), **known)
    return list(
        checks.health(
            settings=app.settings, documents=app.documents, ledger=app.ledger, warehouse=app.warehouse,
            systems=app.systems, patience=patience,
        )
    )  # fmt: skip


@contextmanager
def silent():
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_database_that_answers_is_well_though_it_lacks_the_table(source_table, tmp_path):
    (*_, found) = health(tmp_path, source_table.url)

    assert ("source shop", "ok", "it answers") == (found.check, found.status, found.message)


def test_a_database_that_gives_no_answer_is_not_waited_for(source_table, tmp_path):
    """The advice is followed: it answers once its server runs."""
    with silent() as port:
        (*_, found) = health(tmp_path, f"mysql://me:pw@127.0.0.1:{port}/shop", 0.1)
    (*_, again) = health(tmp_path, source_table.url)

    assert ("source shop", "failed", "its database gives no answer") == (found.check, found.status, found.message)
    advises("Check that its server runs and is not overloaded, and that this machine can reach it", found.fix)
    assert "ok" == again.status


def test_a_database_that_refuses_says_so_in_our_words(tmp_path):
    with silent() as port:
        pass
    (*_, found) = health(tmp_path, f"postgresql://me:secret@127.0.0.1:{port}/shop")

    assert ("source shop", "failed") == (found.check, found.status)
    assert str(port) in found.message
    assert "secret" not in found.message + found.fix


def test_a_database_that_is_not_set_is_left_out(tmp_path):
    assert ["state", "ledger", "warehouse"] == [found.check for found in health(tmp_path, None)]
