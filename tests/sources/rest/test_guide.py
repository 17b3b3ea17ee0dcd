"""docs/adding-a-source.md: its example is run as it is written, and its tables have every option."""

from __future__ import annotations

import re

from pathlib import Path

import pytest

from shared.catalog import api
from shared.rest.auth import WAYS
from tests.servers.http import as_json, serving

PAGE = (Path(__file__).parents[3] / "docs" / "adding-a-source.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def rows(header):
    """The first cells of the table with that header."""
    table = PAGE.partition(f"| {header} |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


class Herald:
    """The booking system that the page describes."""

    def __init__(self):
        self.guests = [
            {"id": n, "name": f"Guest {n}", "changed": 1771930000 + n, "address": {"city": "Ede"}} for n in range(250)
        ]
        self.violations = []

    def __call__(self, request):
        given = request.query
        if request.path != "/v2/guests" or set(given) - {"cursor", "limit", "changed_since"} or given["limit"] != "100":
            self.violations.append(f"{request.path} {dict(given)}")
        if request.headers["Authorization"] != "Bearer hush":
            return as_json({}, 401)
        found = [one for one in self.guests if one["changed"] >= int(given.get("changed_since", 0))]
        start = int(given.get("cursor", 0))
        following = str(start + 100) if start + 100 < len(found) else None
        return as_json({"data": found[start : start + 100], "meta": {"next_cursor": following}})


@pytest.fixture
def herald():
    found = Herald()
    with serving(found) as found.url:
        yield found
    assert found.violations == []


@pytest.mark.slow
def test_the_example_runs_as_it_is_written(sluice, herald, tmp_path):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "herald.toml").write_text(blocks("toml")[0])
    env = {"CATALOG_PATH": str(tmp_path / "catalog"), "HERALD_BASE_URL": herald.url, "HERALD_API_TOKEN": "hush"}
    commands = [line.split()[1:] for block in blocks("console") for line in block.splitlines()]

    results = [sluice(*words, **env) for words in commands]

    assert [0] * 3 == [result.exit_code for result in results], [result.output for result in results]
    assert "changed timestamp 100 of 100 2026-02-24 10:46:40" in " ".join(results[0].stdout.split())
    assert "herald.guest done caught up" in " ".join(results[1].stdout.split())
    assert "no news" in sluice("sync", "herald", **env).stdout
    assert 0 == sluice("doctor", **env).exit_code


def test_every_option_is_explained():
    assert sorted(api.RULES["rest"]) == sorted(rows("option | default | meaning"))
    assert list(WAYS) == rows("`auth` | options, and the settings that they name | what is sent")
    assert list(api.PAGINGS) == rows("`paging` | options | the last page")
    options = {
        name for rule in (*api._AUTH_OF.values(), api._PAGING, api._CHILD, api._SINCE, api._RATE) for name in rule
    }
    missing = [name for name in options if f"`{name}`" not in PAGE and not re.search(rf"[{{,] {name}\b", PAGE)]
    assert [] == missing
