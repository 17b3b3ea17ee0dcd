"""What each page shows, as data for its template. Templates only print."""

from __future__ import annotations

import datetime as dt
import shlex

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.errors import RequestRefused
from shared.jobs.actions import actions_of
from shared.jobs.reports import sent_alerts
from shared.jobs.running import RunInProgress, runs_in_progress
from shared.jobs.view import read_record
from shared.model import FeedName
from shared.pipeline.feeds import declared
from shared.pipeline.spans import LAST
from shared.pipeline.status import (
    COUNTED,
    STATES,
    RunLog,
    RunReport,
    feed_status,
    overview,
)
from shared.redaction import redact
from shared.text import counted, duration, utc
from shared.web import api
from shared.web.pages.render import Page, link, page
from shared.web.pages.sign_in import Principal

if TYPE_CHECKING:
    from shared.app import App

_FEEDS_SHOWN = 100
_REFRESH = "10"
_TIMES = ("when", "from", "to")
DONE = {
    "run": "The jobs that load what is new have been started.",
    "allow": "The jobs have been started; this once a full may delete any share of the rows.",
    "backfill": "The feed was set back, and the jobs that load it again have been started.",
    "pause": "The feed is paused. Jobs that are running go on.",
    "resume": "The feed is resumed, and what came meanwhile is being loaded.",
    "retry": "The jobs that take it up again have been started.",
}
"""What a page says after an action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request of somebody who may make it, and all that the page is made of."""

    app: App
    log: RunLog
    query: Mapping[str, str]
    form: Mapping[str, str]
    principal: Principal
    is_operator: bool
    jobs_run_here: bool
    token: str
    """For forms."""
    file: tuple[str, bytes] | None = None
    """The name and content of the file in the form."""

    def page(self, template: str, **values: Any) -> Page:
        return page(
            template, principal=self.principal, is_operator=self.is_operator, token=self.token,
            jobs_run_here=self.jobs_run_here, **values,
        )  # fmt: skip


class Cell(NamedTuple):
    """A value in a listing, and where it leads."""

    text: str
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A page that is one table."""

    title: str
    lead: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    empty: str
    refresh: str = ""
    """Seconds, if the page was asked to load itself again."""
    refresh_link: str = ""


# -- feeds and runs


def show_overview(visit: Visit) -> Page:
    """All feeds, a hundred on a page."""
    query = visit.query
    chosen = api.chosen_filter(query, visit.app.now())
    found = overview(declared(visit.app.systems), visit.log, visit.app.now(), chosen)
    pages = max(1, -(-len(found.feeds) // _FEEDS_SHOWN))
    number = min(pages, _number(query.get("page", "")))
    given = {name: query.get(name, "") for name in ("system", "state", "text", *_TIMES)}
    return visit.page(
        "overview.html", overview=found, chosen=chosen, times=_times(query), states=STATES, number=number, pages=pages,
        feeds=found.feeds[(number - 1) * _FEEDS_SHOWN : number * _FEEDS_SHOWN],
        before=link("", **given, page=number - 1) if number > 1 else "",
        after=link("", **given, page=number + 1) if number < pages else "",
    )  # fmt: skip


def _times(query: Mapping[str, str]) -> dict[str, Any]:
    """What the fields of a filter by time show."""
    return {"known": tuple(LAST), **{name: query.get(name, "") for name in _TIMES}}


def _number(text: str) -> int:
    """The number of a page; 1 for what is none."""
    return int(text) or 1 if text.isdecimal() and len(text) < 10 else 1


def show_feed(visit: Visit) -> Page:
    """One feed: its runs with all outcomes, who did what, and what may be done."""
    name = visit.query.get("name", "")
    feed = {one.name: one for one in declared(visit.app.systems)}.get(name)
    span = api.chosen_span(visit.query, visit.app.now())
    reports = visit.log.of_feed(name, span)
    latest = visit.log.latest(name)
    if feed is None and not reports and latest.last is None:
        raise RequestRefused(404, "there is no such feed")
    status = feed_status(name, feed, latest, visit.log.is_paused(name), visit.app.now())
    system = visit.app.systems.get(FeedName.parse(name).system)
    is_pulled = system is not None and system.is_pulled(FeedName.parse(name).table)
    return visit.page(
        "feed.html", feed=status, reports=reports, times=_times(visit.query), is_filtered=bool(span),
        actions=actions_of(visit.app.documents, name), done=DONE.get(visit.query.get("done", ""), ""),
        counted=[name for name in COUNTED if any(name in one.counts for one in reports)],
        commands=list(_commands(name, is_pulled=is_pulled, is_csv=feed is not None and feed.source == "csv")),
        keys=", ".join(feed.keys) if feed else "", is_file_feed=feed is not None and feed.layout is not None,
    )  # fmt: skip


def _commands(feed: str, *, is_pulled: bool, is_csv: bool) -> Iterator[str]:
    """How to do on this machine what an operator does in Azure."""
    system, table = map(shlex.quote, FeedName.parse(feed))
    load = f"sluice csv {system} {table} FILE" if is_csv else f"sluice load FOLDER --tables {table}"
    yield f"sluice sync {system} {table}" if is_pulled else load
    yield f"sluice backfill {shlex.quote(feed)} --to TIME"
    yield f"sluice rejects {shlex.quote(feed)}"


def show_run(visit: Visit) -> Page:
    """One run: its files, slices, seconds, log rate and rejects with reasons."""
    feed = visit.query.get("feed", "")
    report = visit.log.run(feed, visit.query.get("run", ""))
    if report is None:
        raise RequestRefused(404, "there is no such run, or it is no longer kept")
    return visit.page("run.html", run=report, about=list(_facts(report)))


def _facts(run: RunReport) -> Iterator[tuple[str, str]]:
    yield "Status", run.status
    yield "Started", utc(run.started)
    yield "Finished", f"{utc(run.finished)}, after {duration(run.took)}"
    if run.kind:
        yield "Kind", f"{run.kind}{', complete' if run.complete else ''}"
    yield "Destination", run.destination
    if run.client:
        yield "Client", run.client
    if run.exported_at:
        yield "Exported", utc(run.exported_at)
    if run.seconds:
        rate = f", {run.size / run.seconds / 1e6:.1f} MB a second" if run.size else ""
        yield "Staging", f"{duration(run.seconds)} for all slices together{rate}"
    if run.log_rate:
        yield "Log rate", f"at most {run.log_rate / 1e6:.1f} MB a second in this service tier"
    if run.run:
        yield "Run", run.run


# -- jobs


def show_jobs(visit: Visit) -> Page:
    """What is running now, with its progress."""
    now = visit.app.now()
    rows = [progress_row(one, now) for one in runs_in_progress(visit.app.documents)]
    return visit.page("listing.html", listing=Listing(
        title="In progress", lead="Runs that a job does now.", rows=rows, empty="No job runs now.",
        columns=("Feed", "Job", "Reads", "For", "Progress", "Rows staged", "Rate"),
        refresh=_REFRESH if visit.query.get("refresh") == _REFRESH else "", refresh_link=link("jobs", refresh=_REFRESH),
    ))  # fmt: skip


def progress_row(one: RunInProgress, now: dt.datetime) -> tuple[Cell, ...]:
    """A run in progress in a table."""
    state = "merging" if one.slices and one.staged == one.slices else f"{one.staged} of {counted(one.slices, 'slice')}"
    rows = f"{one.rows_staged:,} of {one.rows:,}" if one.rows else f"{one.rows_staged:,}"
    rate = [f"{one.rows_per_second:,.0f} rows/s"] if one.rows_per_second else []
    called = [one.calls.text] if one.calls else []
    return (
        Cell(one.feed, link("feed", name=one.feed)), Cell(one.job, link("job", id=one.job)), Cell(one.place),
        Cell(duration(max(0.0, now.timestamp() - one.since))), Cell(state), Cell(rows),
        Cell(", ".join([*rate, *called])),
    )  # fmt: skip


def show_job(visit: Visit) -> Page:
    """One job: what became of its units, or how far it is."""
    id = api.job_id(visit.query.get("id", ""))
    record, running = read_record(visit.app.documents, id), runs_in_progress(visit.app.documents, id)
    if record is None and not running:
        raise RequestRefused(404, "there is no such job, or nothing of it is known yet")
    return visit.page(
        "job.html", id=id, record=record, running=[progress_row(one, visit.app.now()) for one in running],
        failed=bool(record and any(one.status == "failed" and one.feed for one in record.outcomes)),
        done=DONE.get(visit.query.get("done", ""), ""),
    )  # fmt: skip


# -- alerts and settings


def show_alerts(visit: Visit) -> Page:
    """The alerts that were sent, newest first."""
    rows = [
        (Cell(utc(one.at)), Cell(one.severity), Cell(one.title), Cell(one.text))
        for one in sent_alerts(visit.app.documents)
    ]
    lead = (
        "The last 100 that were sent." if visit.app.settings.alert_url else "ALERT_URL is not set: alerts are logged."
    )
    return visit.page("listing.html", listing=Listing(
        title="Alerts", lead=lead, columns=("Sent", "Severity", "About", "Text"), rows=rows,
        empty="No alert was sent lately.",
    ))  # fmt: skip


def show_settings(visit: Visit) -> Page:
    """The settings of this process. Secrets are not visit."""
    settings = visit.app.settings
    destinations = ((f"WAREHOUSE_URL_{name.upper()}", "set; not shown") for name in settings.destinations)
    systems = (
        (f"{system}_{name}", value)
        for system, own in sorted(settings.systems.items())
        for name, value in _values(own)
        if value != "not set"
    )
    rows = [(Cell(name), Cell(value)) for name, value in (*_values(settings), *destinations, *systems)]
    return visit.page("listing.html", listing=Listing(
        title="Settings", lead="As this app reads them. `sluice doctor` and /api/health?deep=true check them.",
        columns=("Setting", "Value"), rows=rows, empty="",
    ))  # fmt: skip


def _values(settings: Any) -> Iterable[tuple[str, str]]:
    """The settings of a dataclass that the environment gives, by name."""
    for known in fields(settings):
        value = getattr(settings, known.name)
        if known.name in ("destinations", "systems", "keep_raw"):
            continue
        text = redact(str(value)) if known.repr else "set; not shown"
        yield known.name.upper(), "not set" if value in (None, "") else text
