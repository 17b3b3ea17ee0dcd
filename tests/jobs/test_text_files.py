"""Text files below ``csv/`` in the exports container, from an event to the tables, on Azurite and DuckDB."""

from __future__ import annotations

import io
import zipfile

import pytest

from tests.arrivals import jobs, units
from tests.exports import START, Clock, open_test_app
from tests.standins.functions_host import functions_host

CATALOG = """
[system]
name = "crm"
source = "csv"

[tables.leads]
keys = ["id"]
cursor = false

[tables.leads.columns]
id = {}
email = { cleaner = "email" }
"""


@pytest.fixture
def app(azurite, container, tmp_path):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "crm.toml").write_text(CATALOG)
    return open_test_app(
        tmp_path, Clock(), STORAGE_CONNECTION_STRING=azurite.connection_string, EXPORTS_URL=container.url,
        STATE_URL=str(tmp_path / "state"), CATALOG_PATH=str(tmp_path / "catalog"),
    )  # fmt: skip


@pytest.fixture
def host(app, monkeypatch):
    with functions_host(app, monkeypatch, start=START) as found:
        yield found


def ids(app):
    with app.warehouse._session() as session:
        return [
            row[0]
            for row in session.connection.execute(
                'SELECT id FROM crm.leads WHERE "DeletedAt" IS NULL ORDER BY 1'
            ).fetchall()
        ]


def archive(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        for name, text in members.items():
            opened.writestr(f"{name}.csv", text)
    return packed.getvalue()


def test_an_event_brings_a_text_file_into_its_table(host, container, app):
    """Its feed is in its path."""
    container.upload_blob("csv/crm/leads/20260224100000/leads.csv", b"id,email\na,A@Example.com\nb,\n")

    host.blob_event(container, "csv/crm/leads/20260224100000/leads.csv")
    (job,) = jobs(host)
    reported = host.finished(job)

    assert ["done"] == units(reported)
    assert ["a", "b"] == ids(app)
    assert "2026-02-24T10:00:00.000000" == app.warehouse.runs()[0].exported_at


def test_each_member_of_an_archive_is_a_unit_of_its_job(host, container, app):
    container.upload_blob("csv/crm/leads/20260224100000/leads.zip", archive(one="id\na\n", two="id\nb\n"))

    host.blob_event(container, "csv/crm/leads/20260224100000/leads.zip")
    (job,) = jobs(host)

    assert ["done", "done"] == units(host.finished(job))
    assert ["a", "b"] == ids(app)


def test_a_file_below_a_folder_full_has_all_rows_of_its_table(host, container, app):
    """Rows that it lacks are deleted, as it has the time of its path."""
    for name, rows in (("20260223100000/a.csv", "a\nb\nc\n"), ("full/20260224100000/b.csv", "c\n")):
        container.upload_blob(f"csv/crm/leads/{name}", f"id\n{rows}".encode())
        host.blob_event(container, f"csv/crm/leads/{name}")
        reported = host.finished(jobs(host)[-1])

    assert (2, ["c"]) == (reported["units"][0]["absent"], ids(app))


def test_a_file_that_no_event_announced_is_taken_once_by_reconciliation(host, container, app):
    """Also an archive; what is no text file of a layout is left alone."""
    container.upload_blob("csv/crm/leads/20260224100000/leads.csv", b"id\na\n")
    container.upload_blob("csv/crm/leads/20260224100000/more.zip", archive(one="id\nb\n"))
    container.upload_blob("csv/crm/deals/deals.csv", b"id\nb\n")
    container.upload_blob("csv/crm/leads/readme.md", b"id\nb\n")

    host.timer("reconcile")
    first = jobs(host)
    for job in first:
        host.finished(job)
    host.timer("reconcile")

    assert (2, first) == (len(first), jobs(host))
    assert ["a", "b"] == ids(app)


def test_a_file_of_a_feed_without_layout_is_ignored_with_a_line_in_the_log(host, container, caplog):
    container.upload_blob("csv/crm/deals/deals.csv", b"id\nb\n")

    with caplog.at_level("INFO", "sluice"):
        host.blob_event(container, "csv/crm/deals/deals.csv")

    assert [] == jobs(host)
    assert "there is no layout for crm deals" in caplog.text


def test_a_damaged_archive_fails_its_job_in_words(host, container):
    container.upload_blob("csv/crm/leads/20260224100000/leads.zip", b"rubbish")

    host.blob_event(container, "csv/crm/leads/20260224100000/leads.zip")
    (job,) = jobs(host)

    assert "leads.zip" in str(host.finished(job))
