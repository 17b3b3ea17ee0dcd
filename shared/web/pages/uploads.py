"""Files that people upload on the pages: how each is read, what it would change, and its load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from shared.errors import RequestRefused
from shared.jobs.running import runs_in_progress
from shared.jobs.uploads import MOST_BYTES, Upload, link_of, location_of, trial_of, try_upload, upload_of
from shared.jobs.view import read_record
from shared.model import FeedName
from shared.pipeline.csv import CsvOptions, load
from shared.pipeline.feeds import declared
from shared.pipeline.progress import Result
from shared.pipeline.trial import TrialOutcome
from shared.text import counted
from shared.web import uploads
from shared.web.pages.render import Page, json_page, link, redirect, with_script
from shared.web.pages.views import Cell, Visit, progress_row

_ENDINGS = ".csv,.tsv,.txt,.xlsx,.gz,.zip"
DONE = {
    "load": "The job that loads the file has been started.", "check": "The file has arrived. Nothing is loaded yet.",
}  # fmt: skip


def show_upload(visit: Visit) -> Page:
    """The form, or with the ``id`` of an upload what became of it."""
    if visit.query.get("id"):
        return _show_one(visit, upload_of(visit.app.documents, visit.query["id"]))
    storage = _storage(visit)
    found = visit.page(
        "upload.html", feeds=[one.name for one in declared(visit.app.systems) if one.layout is not None],
        chosen=visit.query.get("feed", ""), is_direct=bool(storage), most=MOST_BYTES // 1_000_000, endings=_ENDINGS,
    )  # fmt: skip
    return with_script(found, storage)


def _storage(visit: Visit) -> str:
    """The origin of the account that files are written to directly; empty if they are not."""
    url = visit.app.settings.state_url
    if "://" not in url or url.startswith("file://") or "sig=" in url:
        return ""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _show_one(visit: Visit, upload: Upload) -> Page:
    documents, now = visit.app.documents, visit.app.now()
    trial = trial_of(documents, upload)
    running = runs_in_progress(documents, upload.job) if upload.job else []
    record = read_record(documents, upload.job) if upload.job else None
    hopeless = trial is None or trial.error or (trial.outcomes and all(one.error for one in trial.outcomes))
    return visit.page(
        "trial.html", upload=upload, trial=trial,
        can_load=visit.is_operator and not upload.job and not hopeless, record=record,
        running=[progress_row(one, now) for one in running],
        refreshing=bool(visit.query.get("refresh")) and record is None, done=DONE.get(visit.query.get("done", ""), ""),
        outcomes=[_outcome_row(one) for one in trial.outcomes] if trial else [],
        columns=[tuple(map(Cell, one)) for one in trial.columns] if trial else [],
        changes=[tuple(map(Cell, one)) for one in trial.changes] if trial else [],
        cells=[[(Cell(a), Cell(b), Cell(c or "")) for a, b, c in row] for row in trial.sample] if trial else [],
    )  # fmt: skip


def _outcome_row(one: TrialOutcome) -> tuple[Cell, ...]:
    rows = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in one.counts.items()) or "none"
    name = one.place.rpartition("/")[2]
    return Cell(name), Cell(one.destination), Cell(rows), Cell(one.error or one.note or "")


def act_on_upload(visit: Visit) -> Page:
    """Take a file, or say where to write it; look at it; load it."""
    action = visit.form.get("action", "file")
    if action not in _ACTIONS:
        raise RequestRefused(400, "there is no such action")
    return _ACTIONS[action](visit)


def _take(visit: Visit) -> Page:
    name, content = visit.file or ("", b"")
    if not content:
        raise RequestRefused(400, "choose a file that is not empty")
    upload = _add(visit, name, content)
    try_upload(visit.app, upload)
    return redirect(link("upload", id=upload.id, done="check"))


def _add(visit: Visit, name: str, content: bytes = b"") -> Upload:
    return uploads.add(
        visit.app, visit.form.get("feed", ""), name, content, full=visit.form.get("full") == "yes",
        by=visit.principal.name,
    )  # fmt: skip


def _say_where(visit: Visit) -> Page:
    id = visit.form.get("id", "")
    upload = upload_of(visit.app.documents, id) if id else _add(visit, visit.form.get("name", ""))
    found = link_of(visit.app, upload)
    if found is None:
        raise RequestRefused(409, "the app cannot sign links for its storage")
    return json_page({"upload": upload.id, "url": found.url, "minutes": found.minutes})


def _check(visit: Visit) -> Page:
    upload = upload_of(visit.app.documents, visit.form.get("id", ""))
    try_upload(visit.app, upload)
    return json_page({"page": link("upload", id=upload.id, done="check")})


def _load(visit: Visit) -> Page:
    upload = upload_of(visit.app.documents, visit.form.get("id", ""))
    if not visit.jobs_run_here:
        return _load_here(visit, upload)
    start = uploads.start(visit.app, upload, visit.principal.name)
    return redirect(link("upload", id=upload.id, done="load", refresh="10"), [start])


def _load_here(visit: Visit, upload: Upload) -> Page:
    """On this machine no jobs run: the request waits for the load."""
    app, feed = visit.app, FeedName.parse(upload.feed)
    options = CsvOptions(full=upload.full)
    results = list(load(app.runner, app.settings, feed, location_of(app.settings, upload), options))
    uploads.keep_load(app, upload, visit.principal.name)
    return show_results(visit, upload.feed, upload.name, results)


def load_rejects(visit: Visit) -> Page:
    """Corrected rejects of a feed."""
    name, content = visit.file or ("", b"")
    feed = visit.form.get("feed", "")
    return show_results(visit, feed, name, uploads.load_rejects(visit.app, feed, name, content, visit.principal.name))


def show_results(visit: Visit, feed: str, name: str, results: Sequence[Result]) -> Page:
    """What became of rows that were loaded at once."""
    rows = [tuple(map(Cell, _result(one))) for one in results]
    return visit.page("results.html", feed=feed, name=name, rows=rows, failed=any(one.failed for one in results))


def _result(one: Result) -> Iterator[str]:
    yield one.place.rpartition("/")[2]
    yield one.destination
    yield one.run.status if one.run else "skipped"
    yield f"{counted(one.run.read, 'row')}, {one.run.rejected:,} rejected" if one.run else ""
    yield (one.run.error or one.run.note or "") if one.run else one.skipped or ""


_ACTIONS: Mapping[str, Callable[[Visit], Page]] = {"file": _take, "link": _say_where, "check": _check, "load": _load}
