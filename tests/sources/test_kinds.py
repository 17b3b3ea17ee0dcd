"""The table of kinds of sources: what it takes to add one, and what a kind decides."""

from __future__ import annotations

import importlib

import pytest

from shared import sources
from shared.errors import ConfigError
from shared.model import Feed
from shared.settings import Settings
from tests.exports import START, Clock, open_test_app
from tests.standins.functions_host import functions_host

TOY = """
[system]
name = "crm"
source = "toy"

[tables]
lead = { keys = ["Id"], cursor = "At", schedule = "* * * * *" }
"""


def test_a_source_is_added_by_one_module_one_row_and_one_catalog_file(tmp_path, monkeypatch):
    """Its feeds are planned, staged and published by the timer like any other's."""
    monkeypatch.setitem(sources.KINDS, "toy", sources.SourceKind("tests.sources.toy", delivers="windows"))
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "crm.toml").write_text(TOY)
    app = open_test_app(
        tmp_path, Clock(), STATE_URL=str(tmp_path / "state"), CATALOG_PATH=str(tmp_path / "catalog")
    )  # fmt: skip

    with functions_host(app, monkeypatch, start=START) as host:
        host.timer("sync_due")
        result = host.finished("sync:crm")

    assert 3 == result["summary"]["inserted"]
    assert "3" == app.ledger.watermark("crm.lead").value


def test_a_feed_of_files_cannot_be_opened_for_windows():
    """The error names the kinds that can."""
    feed = Feed(system="coolr", table="location", source="exports", keys=("LocationId",))

    with pytest.raises(ConfigError, match=r"coolr\.location .* cannot be synced\..* sql"):
        sources.open_pull_source(feed, Settings())


@pytest.mark.parametrize("kind", sources.KINDS)
def test_every_kind_names_a_module_that_exists(kind):
    """A pulled one has the function that opens it."""
    module = importlib.import_module(sources.KINDS[kind].module)

    assert sources.KINDS[kind].pulled == hasattr(module, "open_source")
