"""Files that people upload on the page: how each is read, what it would change, its load, and who may."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re

from dataclasses import asdict

import pytest

from shared.jobs.actions import actions_of
from shared.jobs.feed_state import FeedStates
from shared.jobs.uploads import MOST_BYTES, Upload, trial_of, upload_of
from shared.pipeline import trial
from shared.web.pages.site import Request, respond
from tests.exports import Clock, export_path, load_exports, open_test_app, write_parquet
from tests.web.pages.browsing import OPERATES, SCRIPT, get, post, text, token, words

FEED = "hubspot.zip_codes"
CONTENT = b"Zip,City,Division\n10115,Berlin,North\n80331,Munich,South\n,Nowhere,\n"
BAD = f"{SCRIPT}\u202e"


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path, Clock(), STATE_URL=str(tmp_path / "state"), STATUS_SIGN_IN="entra")


def send(app, path="upload", name="zips.csv", content=CONTENT, principal=OPERATES, here=True, **fields):
    """A form with a file, as a browser sends it."""
    parts = {"token": token(app, principal), **fields}
    lines = [
        f'--B\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in parts.items()
    ]
    head = f'--B\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/csv\r\n\r\n'
    body = b"".join((*lines, head.encode(), content, b"\r\n--B--\r\n"))
    request = Request(
        method="POST", path=path, query={}, principal=principal, body=body,
        content_type="multipart/form-data; boundary=B",
    )  # fmt: skip
    return respond(app, request, can_act=here)


def uploaded(app, **more) -> Upload:
    page = send(app, **{"feed": FEED, "action": "file", **more})
    assert 303 == page.status, words(page)
    return upload_of(app.documents, re.search(r"id=(\w+)", page.headers["Location"])[1])


def test_upload_shows_how_it_is_read_and_what_it_would_change(app):
    """Nothing is loaded by that, and looking at it again asks no warehouse."""
    upload = uploaded(app, name="data/zips.csv")

    shown = words(get(app, "upload", id=upload.id))

    assert "zips.csv" in shown
    assert "Zip zipcode text" in shown
    assert "2 inserted, 1 rejected" in shown
    assert "zipcode 10115 10115" in shown
    assert "zipcode new" in shown
    assert ("Load it" in words(get(app, "upload", OPERATES, id=upload.id)), "Load it" in shown) == (True, False)
    assert [] == app.warehouse.runs(FEED)
    assert [("upload", "Opal <b>", "zips.csv")] == [(a.action, a.by, a.detail) for a in actions_of(app.documents, FEED)]


def test_upload_is_loaded_on_this_machine_at_once(app):
    """Where no jobs run."""
    upload = uploaded(app, here=False)
    request = {"token": token(app), "action": "load", "id": upload.id}

    page = respond(
        app, Request(method="POST", path="upload", query={}, principal=OPERATES, body=form(request)), can_act=False
    )

    assert (200, True) == (page.status, "3 rows, 1 rejected" in words(page))
    assert [2] == [run.inserted for run in app.warehouse.runs(FEED)]
    assert ["load", "upload"] == sorted(one.action for one in actions_of(app.documents, FEED))


def form(fields):
    return "&".join(f"{name}={value}" for name, value in fields.items()).encode()


def test_full_that_is_uploaded_deletes_what_it_lacks(app):
    """Only by whoever said so; the time of the upload is that of the export."""
    for content, full in ((CONTENT, ""), (b"Zip,City\n10115,Berlin\n", "yes")):
        upload = uploaded(app, content=content, full=full, here=False)
        respond(app, Request(method="POST", path="upload", query={}, principal=OPERATES, body=form(
            {"token": token(app), "action": "load", "id": upload.id})), can_act=False)  # fmt: skip
        app.now.forward(hours=1)

    assert [(0, 1, True), (2, 0, False)] == [
        (one.inserted, one.absent, one.complete) for one in app.warehouse.runs(FEED)
    ]


def test_names_and_contents_of_others_are_text(app):
    """In headers, in values, in the name of the file."""
    content = f'Zip,"{SCRIPT}",City\n1,x,"{BAD}"\n'.encode()
    upload = uploaded(app, name=f"{BAD}.csv".replace('"', ""), content=content)

    page = get(app, "upload", OPERATES, id=upload.id)

    assert "<script>alert" not in text(page)
    assert "\u202e" not in text(page)
    assert SCRIPT in words(page)
    assert re.fullmatch(r"[A-Za-z0-9_./-]+", upload.document)


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"feed": "coolr.location"}, 404, "is not loaded from files"), ({"feed": "x"}, 404, "no such feed"),
        ({"name": "evil.exe"}, 400, "a file is one of"), ({"content": b""}, 400, "not empty"),
        ({"action": "drop"}, 400, "no such action"), ({"name": "a.csv/../../x"}, 400, "a file is one of"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_refused(app, given, status, said):
    """In one line, and nothing is kept of it."""
    page = send(app, **{"feed": FEED, "action": "file", **given})

    assert (status, True) == (page.status, said in words(page))
    assert [] == list(app.documents.entries("uploads/"))


def test_file_that_is_too_large_for_a_form_is_refused(app, monkeypatch):
    """It says what to do instead; the next larger form is not even read."""
    page = send(app, feed=FEED, action="file", content=b"x" * (MOST_BYTES + 1))

    assert (413, True) == (page.status, "sluice csv hubspot zip_codes FILE" in words(page))
    assert 413 == send(app, feed=FEED, content=b"x" * (MOST_BYTES + 2_000_000)).status


def test_damaged_file_says_why(app):
    """It cannot be loaded."""
    upload = uploaded(app, name="zips.xlsx", content=b"PK\x03\x04 and then rubbish")

    page = get(app, "upload", OPERATES, id=upload.id)

    assert "the spreadsheet cannot be read" in words(page)
    assert "Load it" not in words(page)


def test_large_file_is_checked_by_its_first_rows(app, monkeypatch):
    """Without the warehouse, whatever its size."""
    monkeypatch.setattr(trial, "MOST_BYTES", 10)

    upload = uploaded(app)

    found = trial_of(app.documents, upload)
    assert (3, {"read": 3, "rejected": 1}) == (found.checked, found.outcomes[0].counts)
    assert "its first 3 rows were checked" in words(get(app, "upload", id=upload.id))


def test_kept_trial_is_read_again_as_it_was(app):
    """All of it is text."""
    upload = uploaded(app)

    found = trial_of(app.documents, upload)

    assert ("Zip", "zipcode", "text") in found.columns
    assert all(isinstance(cell, str) for row in found.sample for line in row for cell in line if cell is not None)
    assert asdict(found)["error"] is None


def test_link_is_refused_where_nothing_can_be_signed(app):
    """Documents in a folder: the form is sent instead, and the page says so to nobody's harm."""
    page = post(app, "upload", token=token(app), action="link", feed=FEED, name="zips.csv")

    assert 409 == page.status
    assert "data-direct" not in text(get(app, "upload", OPERATES))


def test_page_runs_our_script_and_no_other(app):
    """The policy of the other pages stays without any."""
    policy = get(app, "upload", OPERATES).headers["Content-Security-Policy"]

    assert policy.startswith("default-src 'none';")
    assert policy.endswith("; script-src 'self'; connect-src 'self'")
    assert "script-src" not in get(app).headers["Content-Security-Policy"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?! src)", text(get(app, "upload", OPERATES)))
    assert "<form" not in text(get(app, "upload"))


@pytest.mark.parametrize("id", ["", "x", "0" * 32, "../../jobs", "%00" * 10])
def test_upload_that_is_not_there_is_not_found(app, id):
    """Whatever its id."""
    page = post(app, "upload", token=token(app), action="load", id=id)

    assert 404 == page.status


# -- corrected rejects


@pytest.fixture
def rejected(app, tmp_path):
    """A feed one of whose rows was rejected, and its rejects with the key filled in."""
    rows = [{"LocationId": n or None, "Name": "a", "ModifiedOn": None, "IsDeleted": False} for n in range(20)]
    write_parquet(export_path(tmp_path / "exports", "full", "20260224110000", "location"), rows)
    list(load_exports(app, tmp_path / "exports"))
    content = get(app, "rejects.csv", feed="coolr.location").body.decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(content))
    out = io.StringIO()
    writer = csv.DictWriter(out, row)
    writer.writeheader()
    writer.writerow({**row, "LocationId": "77"})
    return out.getvalue().encode()


def test_corrected_rejects_are_loaded_and_kept_with_who_did_it(app, rejected):
    """The run is on the page of the feed."""
    page = send(app, "rejects", "rejects.csv", rejected, feed="coolr.location")

    assert (200, True) == (page.status, "1 row, 0 rejected" in words(page))
    assert [1, 19] == sorted(run.inserted for run in app.warehouse.runs("coolr.location"))
    assert "replay" in [one.action for one in actions_of(app.documents, "coolr.location")]
    assert "corrected rows of run" in words(get(app, "feed", name="coolr.location"))


@pytest.mark.parametrize(
    ("content", "feed", "status", "said"),
    [
        (b"", "coolr.location", 400, "empty"), (b"a,b\n1,2\n", "coolr.location", 400, "reject:run"),
        (b"x" * 5_000_001, "coolr.location", 413, "sluice rejects coolr.location --replay FILE"),
        (b"reject:run\nr1\n", "x.y", 404, ""),
    ],
)  # fmt: skip
def test_what_are_no_rejects_of_the_feed_is_refused(app, rejected, content, feed, status, said):
    """In one line."""
    page = send(app, "rejects", "rejects.csv", content, feed=feed)

    assert (status, True) == (page.status, said in words(page))


def test_rejects_of_a_paused_feed_wait(app, rejected):
    """As its jobs do."""
    FeedStates(app.documents).pause("coolr.location", "2026-02-24T12:00:00.000000")

    assert 409 == send(app, "rejects", "rejects.csv", rejected, feed="coolr.location").status


def test_upload_is_kept_for_as_long_as_jobs_are(app):
    """The watchdog removes it then."""
    from shared.jobs.watchdog import purge

    app.now.now = dt.datetime.now(dt.UTC)
    uploaded(app)
    purge(app)
    assert list(app.documents.entries("uploads/"))

    app.now.forward(days=31)
    purge(app)

    assert [] == list(app.documents.entries("uploads/"))
