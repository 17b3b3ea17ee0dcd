"""The status page: what it shows, that nothing of others runs in it, and that the warehouse sleeps on."""

from __future__ import annotations

import datetime as dt
import re

from dataclasses import asdict, replace

import pytest

from shared.documents import to_json
from shared.jobs.actions import Action, record_action
from shared.jobs.run_log import DocumentedRuns
from shared.model import to_text
from shared.web.pages import render
from tests.exports import START, Clock
from tests.web.pages.browsing import HOSTILE, OPERATES, SCRIPT, get, open_pages, report, text, words

EVERY = ["", "feed", "run", "jobs", "job", "alerts", "settings", "style.css", "icon.svg", "rejects.csv", "nothing"]


@pytest.fixture
def app(tmp_path):
    return open_pages(tmp_path)


def test_overview_shows_each_feed_with_freshness_and_last_run(app):
    """Without a single query of the warehouse."""
    report(app)

    shown = words(get(app))

    assert "coolr.location ok 0 min old, up to 30 h" in shown
    assert "2026-02-24 12:00:00 UTC 1,000" in shown
    assert 'aria-label="1 run, at most 1,000 rows"' in text(get(app))


def test_state_of_a_feed_is_what_needs_somebody_first(app):
    """Paused, failed, late, without a run, fine."""
    clock = app.now
    for feed, more in (("coolr.location", {}), ("coolr.asset", {"status": "failed", "error": "no such file"})):
        report(app, feed, **more)
    report(app, "coolr.product")
    app.documents.put("feeds/coolr.product/paused", b"x")
    clock.forward(hours=1_000)

    found = re.findall(
        r"feed\?name=coolr\.(\w+)\">[^<]*</a></th>\n<td role=\"cell\"><span class=\"state (\w+)",
        text(get(app, system="coolr")),
    )

    assert {"asset": "failed", "location": "late", "product": "paused"}.items() <= dict(found).items()
    assert "never" in dict(found).values()


@pytest.mark.parametrize(
    ("query", "there", "absent"),
    [
        ({"state": "failed"}, "coolr.asset", "coolr.location"), ({"system": "hubspot"}, "hubspot.", "coolr.asset"),
        ({"text": "NO SUCH"}, "coolr.asset", "coolr.location"),
        ({"text": "nothing like it"}, "No feed matches", "coolr.asset"),
        ({"when": "hour"}, "coolr.asset", "coolr.location"), ({"when": "week"}, "coolr.location", "hubspot."),
        ({"from": "2026-02-24T11:00", "to": "2026-02-24T14:00"}, "coolr.location", "coolr.asset"),
        ({"to": "2026-02-24T14:00", "when": "hour"}, "coolr.location", "coolr.asset"),
        ({"from": "2026-02-24T15:30+02:00"}, "coolr.asset", "coolr.location"),
    ],
)  # fmt: skip
def test_overview_is_filtered(app, query, there, absent):
    """By state, by system, by what is in the name or the error, by when a run ended."""
    report(app)
    app.now.forward(hours=3)
    report(app, "coolr.asset", status="failed", error="no such file")

    shown = re.sub(r"<select.*?</select>", "", text(get(app, **query)), flags=re.DOTALL)

    assert there in shown
    assert absent not in shown


def test_run_shows_files_slices_seconds_log_rate_and_rejects(app):
    """Everything that was kept of it."""
    run = report(app)

    shown = words(get(app, "run", feed=run.feed, run=run.key))

    for part in (
        "rejected 10", "wrong_type Amount 10", "0 location.parquet 990 10 3.0 s", "2.0 MB a second", "at most 50.0 MB",
        "Files Full/Acme/location.parquet", "Kind full",
    ):  # fmt: skip
        assert part in shown


def test_feed_shows_its_runs_newest_first_and_who_did_what(app):
    report(app, number=1)
    report(app, number=2, status="failed", error="a reason", counts={"read": 7})
    record_action(app.documents, Action(at=to_text(app.now()), feed="coolr.location", action="pause", by="Ada"))

    shown = words(get(app, "feed", name="coolr.location"))

    assert shown.index("a reason") < shown.index("1,000 990")
    assert "2026-02-24 12:00:00 UTC Ada pause" in shown


def test_names_and_values_of_others_are_text_on_every_page(app):
    """Markup, marks that turn the direction of writing, ten thousand characters."""
    bad = f"{SCRIPT}\u202e" + "b" * 10_000
    run = report(app, HOSTILE, error=bad, note=bad, place=bad, files=(bad,), reasons={bad: 1}, client=bad, job="blob:1")
    record_action(app.documents, Action(at=to_text(app.now()), feed=HOSTILE, action="run", by=bad, detail=bad))
    sent = {"at": to_text(app.now()), "kind": "failure", "severity": "error", "title": bad, "text": bad}
    app.documents.put("alerts/1", to_json(sent))
    odd = replace(app, settings=replace(app.settings, powerbi_dataset=bad))
    pages = [
        get(odd, text=bad), get(odd, "feed", name=HOSTILE), get(odd, "feed", OPERATES, name=HOSTILE),
        get(odd, "run", feed=HOSTILE, run=run.key), get(odd, "alerts"), get(odd, "settings"),
        get(odd, "feed", name=bad), get(odd, bad), get(odd, "job", id=bad),
        get(odd, state=bad, system=bad, page="9" * 5_000),
    ]  # fmt: skip

    assert [*[200] * 6, 404, 404, 404, 200] == [page.status for page in pages]
    for page in pages:
        assert "<script" not in text(page)
        assert "\u202e" not in re.sub(r'value="[^"]*"', "", text(page))
        assert not re.search(r"b{2100}", words(page))


@pytest.mark.parametrize("path", EVERY)
@pytest.mark.parametrize("principal", [None, OPERATES])
def test_every_answer_has_the_headers_that_keep_others_out(app, path, principal):
    """Errors and the style sheet, too."""
    page = get(app, path, principal)

    assert dict(render.HEADERS).items() <= dict(page.headers).items()
    assert "no-store" == page.headers["Cache-Control"]
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "unsafe" not in policy


def test_no_page_has_style_or_script_of_its_own(app):
    """The policy would leave them out."""
    run = report(app)
    for page in (get(app), get(app, "feed", OPERATES, name=run.feed), get(app, "run", feed=run.feed, run=run.key)):
        assert not re.search(r"<style|<script|\sstyle=|\son\w+=|javascript:", text(page))


def test_settings_are_shown_without_secrets(tmp_path):
    """That one is set is all that is said of it; a URL that may be shown has no signature."""
    app = open_pages(
        tmp_path, ALERT_URL="https://hush.test/secret", SFTP_PASSWORD="hush", POWERBI_DATASET="a/b?sig=hush",
        SHOP_DB_PASSWORD="hush", SHOP_DB_USER="u", SHOP_DB_HOST="db.test", SHOP_DB_NAME="n",
    )  # fmt: skip

    shown = words(get(app, "settings"))

    assert "hush" not in shown
    assert "SFTP_PASSWORD set; not shown" in shown
    assert "SHOP_DB_HOST db.test" in shown
    assert "SYNC_TABLES 4" in shown


@pytest.mark.parametrize("path", ["", "feed"])
@pytest.mark.parametrize(
    "query", [{"when": "year"}, {"from": "yesterday"}, {"to": "9" * 300}, {"from": "2026-03-01", "to": "2026-02-01"}]
)
def test_what_is_no_time_is_refused(app, path, query):
    """It says how times are written."""
    report(app)

    page = get(app, path, name="coolr.location", **query)

    assert 400 == page.status
    assert re.search("when is one of hour, day, week|write times in UTC|from is later than to", words(page))


def test_runs_of_a_feed_are_those_that_began_in_a_time(app):
    """The last day, or between two times; in days nearby and months apart."""
    for day in ("2025-12-31", "2026-01-15", "2026-02-20", "2026-02-23", "2026-02-24"):
        report(app, key=f"{day}T11:00:00.000000-1", place=f"of {day}")

    def shown(**query):
        return re.findall(r"of (\d{4}-\d\d-\d\d)", text(get(app, "feed", name="coolr.location", **query)))

    assert ["2026-02-24", "2026-02-23", "2026-02-20", "2026-01-15", "2025-12-31"] == shown()
    assert ["2026-02-24"] == shown(when="hour")
    assert ["2026-02-24", "2026-02-23", "2026-02-20"] == shown(when="week")
    assert ["2026-01-15", "2025-12-31"] == shown(**{"from": "2025-12-31T10:00", "to": "2026-02-19T23:00"})
    assert ["2026-02-23"] == shown(**{"from": "2026-02-20T11:01", "to": "2026-02-24T10:59"})
    assert "No run began in that time" in words(get(app, "feed", name="coolr.location", to="2025-01-01T00:00"))


# -- size


@pytest.mark.parametrize("query", [{}, {"when": "day"}, {"from": "2026-01-01T00:00", "to": "2026-03-20T00:00"}])
def test_page_of_a_feed_lists_only_the_days_it_shows(app, query):
    """However many runs are kept: a day of them, and the fifty that it shows."""
    start = dt.datetime(2026, 2, 24, 12, tzinfo=dt.UTC)
    content = to_json(asdict(report(app)))
    for number in range(300):
        at = to_text(start - dt.timedelta(minutes=10 * number))
        app.documents.put(f"runs/coolr.location/{at}-0000", content)
    for number in reversed(range(20)):
        report(app, key=f"{to_text(start - dt.timedelta(minutes=10 * number))}-0000")
    counted = Counting(app.documents)

    page = get(replace(app, documents=counted), "feed", name="coolr.location", **query)

    assert 200 == page.status
    assert counted.listed <= 100
    assert counted.reads <= 60


def test_five_hundred_feeds_are_shown_a_hundred_at_a_time(app):
    """Few documents are read for that once they are known: the rest comes from one."""
    app.now.now = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    for number in range(500):
        report(app, f"big.t{number:03}")
    get(app)
    counted = Counting(app.documents)

    page = get(replace(app, documents=counted), page="2", system="big")

    assert counted.reads < 10
    assert "big.t100" in text(page)
    assert "big.t200" not in text(page)
    assert "Page 2 of 5" in words(page)
    assert len(page.body) < 200_000


class Counting:
    """Documents that count how many are read, and how many are listed."""

    def __init__(self, documents):
        self._documents, self.reads, self.listed = documents, 0, 0

    def entries(self, prefix):
        for entry in self._documents.entries(prefix):
            self.listed += 1
            yield entry

    def get(self, name):
        self.reads += 1
        return self._documents.get(name)

    def __getattr__(self, name):
        return getattr(self._documents, name)


def test_what_was_read_before_never_hides_what_came_since(app):
    """A document that was written again is read again."""
    app.now.now = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    for number in range(30):
        report(app, f"big.t{number:03}")
    log = DocumentedRuns(app.documents, app.now)
    log.recent()
    assert app.documents.get("status/overview")

    report(app, "big.t007", number=2)

    assert 2_000 == log.recent().runs["big.t007"].last.read


def test_chart_has_the_last_twenty_runs(app):
    """However many there were."""
    for number in range(30):
        report(app, number=number)

    latest = DocumentedRuns(app.documents, app.now).latest("coolr.location")

    assert [1_000 * number for number in range(10, 30)] == [point.rows for point in latest.points]


def test_feed_that_fails_keeps_the_time_of_its_last_data(tmp_path):
    """Its age is that of its data, not of its runs."""
    clock = Clock()
    app = open_pages(tmp_path, clock)
    report(app)
    clock.forward(hours=5)
    report(app, number=2, status="failed", error="x")

    latest = DocumentedRuns(app.documents, app.now).latest("coolr.location")

    assert (to_text(START), "failed") == (latest.data_at, latest.last.status)
