"""The pages in a real Chromium, without script of theirs: every action, keyboard, axe, dark mode, 320 px, pictures."""

from __future__ import annotations

import json
import os

from pathlib import Path

import pytest

from shared.jobs.actions import actions_of
from shared.jobs.feed_state import FeedStates
from tests.exports import Clock, open_test_app
from tests.servers.npm import npm_package
from tests.standins.functions_host import functions_host
from tests.web.pages.browsing import HOSTILE, ended_job, principal_header, report

pytestmark = pytest.mark.slow

FEED = "coolr.location"
PAGES = (
    "status", f"status/feed?name={FEED}", f"status/run?feed={FEED}&run=2026-02-24T02", "status/jobs", "status/alerts",
    "status/settings", "status/job?id=blob:1", "status/upload", f"status/feed?name={FEED}&when=day",
)  # fmt: skip
PICTURES = Path(__file__).parents[3] / "docs" / "pictures"
"""What README.md shows."""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An app with runs of every kind, over HTTP; gives it with the address of its API."""
    app = open_test_app(tmp_path, Clock(), STATE_URL=str(tmp_path / "state"), STATUS_SIGN_IN="entra")
    for number in range(1, 25):
        report(app, FEED, number=number % 9 + 1, key=f"2026-02-24T{number:02}")
    report(app, "coolr.asset", status="failed", error="location.parquet lacks column 'IsDeleted'. Export it", counts={})
    report(app, "coolr.product")
    FeedStates(app.documents).pause("coolr.product", "2026-02-24T12:00:00.000000")
    report(app, HOSTILE, error=HOSTILE, note=HOSTILE, place=HOSTILE)
    ended_job(app)
    with functions_host(app, monkeypatch) as host, host.listening() as url:
        yield app, url, host


@pytest.fixture
def visit(chromium, site):
    """A page of somebody who may act, with these options of the browser."""
    opened = []

    def visit(path="status", **options):
        headers = {"X-MS-CLIENT-PRINCIPAL": principal_header(["Operator"])}
        context = chromium.new_context(extra_http_headers=headers, **options)
        opened.append(context)
        page = context.new_page()
        page.faults = []
        page.on("console", lambda message: page.faults.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: page.faults.append(dialog.message))
        page.goto(f"{site[1]}/{path}")
        return page

    yield visit
    for context in opened:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit, site, scheme):
    """Landmarks, names, table headers, labels, contrast, on each page in both schemes; nothing breaks the policy."""
    axe = (npm_package("axe-core") / "axe.min.js").read_text()
    page = visit(bypass_csp=True, color_scheme=scheme)
    for place in (*PAGES, "status?text=nothing%20like%20it", "status/nothing"):
        page.goto(f"{site[1]}/{place}")
        for details in page.locator("details").all():
            details.locator("summary").click()
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert [] == [(place, one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (320, "light")])
def test_no_page_is_wider_than_its_window(visit, site, width, scheme):
    """Only tables scroll, in a frame of their own; hostile names do not run, load or widen anything."""
    page = visit(viewport={"width": width, "height": 640}, color_scheme=scheme)
    for place in (*PAGES, "status?text=script"):
        page.goto(f"{site[1]}/{place}")
        assert (place, True) == (place, page.evaluate("document.documentElement.scrollWidth") <= width)
    assert [] == page.faults


def test_actions_are_done_by_keyboard_without_script(visit, site):
    """From the overview to a feed that is paused, resumed and set back, and who did it."""
    app, _, _ = site
    page = visit(java_script_enabled=False)
    page.keyboard.press("Tab")
    assert page.locator(".skip:focus").is_visible()
    page.get_by_role("link", name=FEED, exact=True).press("Enter")
    page.get_by_role("button", name="Pause").press("Enter")
    assert "The feed is paused" in page.get_by_role("status").inner_text()
    assert FeedStates(app.documents).paused(FEED)

    page.get_by_role("button", name="Resume").press("Enter")
    page.get_by_text("Backfill", exact=True).first.press("Enter")
    page.get_by_label("Load again what was exported").fill("2026-02-01T00:00:00Z")
    page.get_by_role("button", name="Backfill").press("Enter")

    assert "The feed was set back" in page.get_by_role("status").inner_text()
    assert ["backfill", "pause", "resume"] == sorted(one.action for one in actions_of(app.documents, FEED))
    assert {"Ada"} == {one.by for one in actions_of(app.documents, FEED)}


def test_full_is_only_allowed_by_whoever_ticks_the_box(visit, site):
    """The browser asks for it before it sends the form."""
    app, _, _ = site
    page = visit(f"status/feed?name={FEED}")
    page.get_by_text("Allow a full that was stopped").click()
    page.get_by_role("button", name="Load it").click()
    assert [] == actions_of(app.documents, FEED)

    page.get_by_label("I have looked").check()
    page.get_by_role("button", name="Load it").click()

    assert ["max_delete_share 1.0"] == [one.detail for one in actions_of(app.documents, FEED)]
    assert [] == page.faults


def test_file_is_uploaded_and_loaded_by_keyboard_without_script(visit, site, tmp_path):
    """By an ordinary form: what it would do is shown, in a page that axe and a narrow window have no fault with."""
    file = tmp_path / "zips <b>.csv"
    file.write_text("Zip,<img src=x onerror=alert(1)>,City\n10115,<script>alert(1)</script>,Berlin\n,x,Nowhere\n")
    page = visit("status/upload", java_script_enabled=False, viewport={"width": 320, "height": 640})
    page.get_by_label("Feed").select_option("hubspot.zip_codes")
    page.get_by_label("File (choose one").set_input_files(file)
    page.get_by_role("button", name="Show what it would do").press("Enter")
    page.wait_for_load_state()  # with its style sheet, or it may be wider
    assert "1 inserted, 1 rejected" in page.locator("main").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    if os.environ.get("SLUICE_PICTURES"):
        page.screenshot(path=PICTURES / "trial-phone.png", full_page=True)

    page.get_by_role("button", name="Load it").press("Enter")
    site[2].durable.wait(upload_job(site[0]))
    page.reload()

    assert "1 of 1 done" in page.locator("main").inner_text()
    assert {"upload", "load"} == {one.action for one in actions_of(site[0].documents, "hubspot.zip_codes")}
    assert [] == page.faults


def upload_job(app):
    """The job of the only upload."""
    (name,) = [one.name for one in app.documents.entries("uploads/") if one.name.endswith("/about")]
    return json.loads(app.documents.get(name))["job"]


def test_feeds_are_filtered_without_script(visit):
    """By the form."""
    page = visit(java_script_enabled=False)
    page.get_by_label("State").select_option("failed")
    page.get_by_role("button", name="Show").click()

    assert ["coolr.asset"] == page.locator("tbody th").all_inner_texts()


@pytest.mark.skipif(
    not os.environ.get("SLUICE_PICTURES"), reason="SLUICE_PICTURES is not set: pictures stay as they are"
)
@pytest.mark.parametrize(
    ("name", "place", "options"),
    [
        ("light", "status?system=coolr", {"viewport": {"width": 1100, "height": 420}}),
        ("dark", f"status/feed?name={FEED}", {"viewport": {"width": 1100, "height": 700}, "color_scheme": "dark"}),
        ("phone", "status?system=coolr", {"viewport": {"width": 320, "height": 640}}),
    ],
)
def test_pictures_of_the_pages(visit, site, name, place, options):
    """For README.md, with SLUICE_PICTURES=1: what the pages look like over a week of runs."""
    app, url, _ = site
    for number in range(20):
        app.now.forward(hours=8)
        unchanged, updated = 766 + 400 * (number % 4), 120 + number
        counts = {"read": unchanged + updated + 14, "inserted": 14, "updated": updated, "unchanged": unchanged}
        failed = {"status": "failed", "error": "its links expired before all was loaded", "counts": {}}
        report(app, FEED, key=f"2026-03-{number:02}", **({"counts": counts} if number != 12 else failed))
    page = visit(**options)
    page.goto(f"{url}/{place}")
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / f"status-{name}.png")

    assert (PICTURES / f"status-{name}.png").stat().st_size > 5_000
