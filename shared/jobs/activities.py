"""The four verbs as steps of a job: each may run on another machine, late, and twice. In and out goes small JSON.

A step is asked with ``job`` (the orchestration's id), ``started`` (text of records), ``unit`` (its number in the job)
and ``work`` (see shared.jobs.work_items); what it leaves for the next lies in the app's documents
(shared.jobs.job_documents). A TransientError is for the host to try again. Every other failure is written down and
comes back as the outcome of its unit:

    {"status": "done" | "failed" | "skipped", "feed", "place", counts of rows, "run", "error", "note", "skipped"}
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from shared import alerts, errors
from shared.errors import IngestError, TransientError
from shared.jobs import work_items
from shared.jobs.job_documents import JobDocuments, Lease
from shared.model import OUTCOMES, Json, Plan, Run, Staged, Unit, from_json
from shared.pipeline.runner import Bug, RunOptions, error_text
from shared.redaction import redact

if TYPE_CHECKING:
    from shared.app import App

_OVER: Json = {"status": "over"}
"""Answers a step that was delivered once more after its job had ended."""
_LONGEST = 1_000
"""Characters of a text that an outcome keeps."""


def plan(app: App, ask: Json) -> Json:
    """Decide what the unit will read: the number of its ``slices``; or its outcome, if there is nothing to read."""
    papers = JobDocuments(app.documents, ask)
    if (known := papers.outcome()) is not None:
        return known
    try:
        kept = papers.plan()
        if kept is None:
            return _planned(app, ask, papers)
        work_items.in_hand(app, ask, kept.run.id, kept.run.feed, _places(kept.run))
    except work_items.Skipped as skipped:
        about = {"feed": skipped.feed, "place": _text(skipped.place), "passing": skipped.passing}
        return papers.close({"status": "skipped", "skipped": skipped.reason, **about})
    return {"slices": len(kept.slices)}


def stage(app: App, ask: Json) -> Json:
    """Stage slice number ``slice`` of the unit; what became of it is for ``publish`` to read."""
    papers, number = JobDocuments(app.documents, ask), int(ask["slice"])
    kept = papers.plan()
    if kept is None or papers.outcome() is not None or not Lease(app.documents, ask).have(kept.run.id):
        return _OVER
    if papers.is_noted(number):  # to stage it again would drop its table, perhaps while it is merged
        return {"status": "staged"}
    try:
        source = work_items.source(app, ask["work"], int(ask["unit"]))
        told: Json = {"staged": asdict(app.runner.stage(kept, kept.slices[number], source))}
    except TransientError:
        raise
    except Exception as error:  # noqa: BLE001 - what it means for the unit is for `publish` to say
        told = {"fault": _as_fault(error)}
    papers.note(number, told)
    return {"status": "fault" if "fault" in told else "staged"}


def publish(app: App, ask: Json) -> Json:
    """Merge what the slices staged, or say why that cannot be. The outcome of the unit."""
    papers = JobDocuments(app.documents, ask)
    if (known := papers.outcome()) is not None:
        return known
    kept = papers.plan()
    if kept is None or not Lease(app.documents, ask).have(kept.run.id):
        return _OVER
    told = papers.slices(len(kept.slices))
    if missing := len(kept.slices) - len(told):
        why = papers.missed() or "nobody knows why"
        return fail(app, {**ask, "error": f"{missing} of its slices could not be staged: {why}"})
    try:
        staged = {n: from_json(Staged, one["staged"]) for n, one in told.items() if "staged" in one}
        faults = {n: _error(one["fault"]) for n, one in told.items() if "fault" in one}
        merged = app.runner.merge(kept, staged, faults, _options(ask, kept.run.feed))
    except TransientError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever failed it, the run has failed
        return _failed(app, ask, papers, kept.run, kept.unit, error, kept)
    app.feed_states.done(merged.run)
    # A window all of whose rows were rejected moves nothing: reading on would read it again for ever.
    seen, now = kept.unit.seen, app.ledger.watermark(kept.run.feed)
    more = kept.unit.more and seen is not None and (seen.value, seen.type) != (now.value, now.type)
    return papers.close({**_of_run(merged.run), "more": more})


def tidy(app: App, ask: Json) -> Json:
    """Drop what the unit staged, and its plan."""
    papers = JobDocuments(app.documents, ask)
    kept = papers.plan()
    if kept is not None:
        hands = Lease(app.documents, ask)
        if hands.have(kept.run.id):
            app.runner.tidy(kept)
            hands.release(kept.run.id)
        papers.clear()
    return {}


def record_failure(app: App, ask: Json) -> Json:
    """Keep, for ``publish`` to tell, why slice number ``slice`` could not be staged: the ``error`` of its last try."""
    JobDocuments(app.documents, ask).miss(int(ask["slice"]), _text(ask["error"]))
    return {}


def fail(app: App, ask: Json) -> Json:
    """The outcome of a unit one of whose steps failed too often, with ``error``. Its work stays to be done."""
    papers = JobDocuments(app.documents, ask)
    if (known := papers.outcome()) is not None:
        return known
    kept = papers.plan()
    about = {"feed": kept.run.feed, "place": _places(kept.run)} if kept else work_items.about(app, ask)
    return _told(app, ask, papers, {**about, "status": "failed", "error": _text(ask["error"]), "passing": True})


# -- what became of a unit


def _planned(app: App, ask: Json, papers: JobDocuments) -> Json:
    if "feed" in ask["work"]:
        app.feed_states.ask(ask["work"]["feed"], ask["started"])
    try:
        found = work_items.find(app, ask["work"], int(ask["unit"]), ask["started"])
        run = work_items.run(app, found, ask, _options(ask, found.feed))
    except (TransientError, work_items.Skipped):
        raise
    except work_items.Unreadable as error:
        refused = app.runner.refuse(error.feed, error.unit, error.error)
        return _told(app, ask, papers, _of_run(refused), refused)
    except Exception as error:  # noqa: BLE001 - whatever failed it, the unit has failed
        return _told(
            app, ask, papers, {**work_items.about(app, ask), "status": "failed", "error": _text(error_text(error))}
        )
    try:
        planned = papers.keep(app.runner.plan(replace(run, started=ask["started"]), found.unit, found.source))
    except TransientError:
        Lease(app.documents, ask).release(run.id)
        raise
    except Exception as error:  # noqa: BLE001 - whatever failed it, the run has failed
        outcome = _failed(app, ask, papers, run, found.unit, error, None)
        Lease(app.documents, ask).release(run.id)
        return outcome
    return {"slices": len(planned.slices)}


def _failed(
    app: App, ask: Json, papers: JobDocuments, run: Run, unit: Unit, error: Exception, kept: Plan | None
) -> Json:  # fmt: skip
    failed = app.runner.fail(run, unit, error, plan=kept)
    return _told(app, ask, papers, _of_run(failed), failed)


def _told(app: App, ask: Json, papers: JobDocuments, outcome: Json, run: Run | None = None) -> Json:
    """Keep the outcome of a unit that failed, and tell of it at once."""
    kept = papers.close(outcome)
    link = app.job_link(ask["job"])
    alert = alerts.alert_for_run(run, outcome["place"], link) if run else alerts.alert_for_failure(outcome, link)
    if alert is not None:
        app.alerts.tell(alert)
    return kept


def _of_run(run: Run) -> Json:
    counts = ("read", *OUTCOMES, "absent", "values_rejected")
    told = {name: getattr(run, name) for name in (*counts, "feed", "kind", "complete", "exported_at", "note", "error")}
    texts = {name: _text(told[name]) for name in ("note", "error") if told[name]}
    return {**told, **texts, "status": run.status, "run": run.id, "place": _places(run)}


def _places(run: Run) -> str:
    more = f" and {len(run.files) - 1:,} more" if len(run.files) > 1 else ""
    return _text(f"{run.files[0] if run.files else run.feed}{more}")


def _options(ask: Json, feed: str) -> RunOptions:
    """What was asked for by hand; a brake that was let go is let go for the one feed that was looked at."""
    return RunOptions(max_delete_share=ask.get("max_delete_share") if ask.get("by_hand") == feed else None)


def _text(text: str) -> str:
    return redact(" ".join(text.split()))[:_LONGEST]


def _as_fault(error: Exception) -> Json:
    if isinstance(error, IngestError):
        return {"kind": type(error).__name__, "problem": redact(error.problem), "fix": error.fix}
    return {"kind": None, "problem": redact(error_text(error))}


def _error(fault: Json) -> Exception:
    """The error that ``_as_fault`` wrote down."""
    if fault["kind"] is None:
        return Bug(fault["problem"])
    error: IngestError = getattr(errors, fault["kind"])(fault["problem"], fix=fault["fix"])
    return error
