"""``sluice sync``, over real databases."""

from __future__ import annotations

import json
import re

import pytest
import sqlalchemy as sa

from tests.servers.source_table import at, item

pytestmark = pytest.mark.usefixtures("in_a_hurry")

CATALOG = """
[system]
name = "shop"
source = "sql"

[tables]
item = { keys = ["Id"], cursor = "At" }
gone = { keys = ["Id"], cursor = false }
"""


@pytest.fixture
def table(source_table):
    return source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(3)))


@pytest.fixture
def command(sluice, source_table, table, tmp_path):
    """Run ``sluice sync`` over a catalog with a table that is there and one that is gone."""
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG)
    env = {"CATALOG_PATH": str(tmp_path / "catalog"), "SHOP_DATABASE_URL": source_table.url}
    return lambda *words: sluice("sync", *words, **env)


def test_people_see_a_row_for_each_table_and_why_one_failed(command, table, source_table):
    first = command("shop")

    assert 1 == first.exit_code
    assert "shop.gone: " in first.stderr
    assert "is not in the database of SHOP_DATABASE_URL" in first.stderr
    assert ["shop.item", "done", "caught", "up"] == lines(first)["shop.item"][:4]
    assert ["3", "3"] == lines(first)["shop.item"][5:]

    assert ["shop.item", "no", "news", "caught", "up"] == lines(command("shop", "ITEM"))["shop.item"][:5]


def test_machines_get_counts_windows_and_how_far_behind_it_is(command):
    result = command("shop", "item", "--json")

    (reported,) = json.loads(result.stdout)
    assert (0, "done", 3, 0.0) == (
        result.exit_code, reported["outcome"], reported["inserted"], reported["behind_seconds"],
    )  # fmt: skip
    assert ("2026-02-24T12:02:00.000000", 1) == (reported["watermark"], len(reported["windows"]))


def test_a_dry_run_shows_what_would_change(command, source_table, table):
    command("shop", "item")
    source_table.do(sa.update(table).where(table.c.Id == 1).values(At=at(9)))

    result = command("shop", "item", "--dry-run")

    assert re.search(r"At: \S+T12:01:00\S* -> \S+T12:09:00", result.stdout)
    assert ["shop.item", "done"] == lines(command("shop", "item"))["shop.item"][:2]


def test_keys_alone_find_what_is_gone(command, source_table, table):
    """How far the table is behind is not known from them."""
    command("shop", "item")
    source_table.do(sa.delete(table).where(table.c.Id == 1))

    result = command("shop", "item", "--keys")

    assert (0, ["shop.item", "done", "unknown"]) == (result.exit_code, lines(result)["shop.item"][:3])
    assert ["2", "2", "1"] == lines(result)["shop.item"][4:]
    assert "absent" in result.stdout


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["shop", "--full", "--limit", "3"], "give one of them"),
        (["shop", "--full", "--since", "2026-02-24"], "give one of them"),
        (["shop", "--keys", "--since", "2026-02-24"], "give one of them"),
        (["shop", "--full", "--keys"], "give one of them"),
        (["shop", "--limit", "0"], "Invalid value for '--limit'"),
        ([], "Missing argument 'SYSTEM'"),
    ],
)
def test_wrong_use_ends_with_2(command, words, problem):
    result = command(*words)

    assert (2, True) == (result.exit_code, problem in result.stderr)


def lines(result):
    """The words of each line of the table, by the first."""
    return {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
