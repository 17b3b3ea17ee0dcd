"""What of a run or a job is worth telling somebody, as data. Pure functions."""

from __future__ import annotations

import hashlib
import re

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from shared.declared import CHECK
from shared.model import Run
from shared.text import counted, duration, one_line, utc

Kind: TypeAlias = Literal["failure", "notice", "stale", "stuck", "poison", "summary"]
"""What an alert is about: work that failed; that was done with something to look at; a feed whose data is late; a job
that does not end; a message nobody can process; the end of a job."""

Severity: TypeAlias = Literal["info", "warning", "error"]

_MOST_FAILURES = 10
_CHANGING = re.compile(r"[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]{4,})*|\d[\d.,:-]*")
"""Ids and numbers: what differs between two tellings of the same trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What became of all parts of one job. ``asdict`` makes it JSON."""

    job: str
    what: str
    """For people, such as ``export Full of Acme, 2026-02-24 12:00``; times are UTC."""
    status: Literal["done", "partly", "failed"]
    files: int
    """Parts of the job: tables of an export, feeds of a system, or windows of one feed. Each is done, without news,
    skipped or failed."""
    done: int
    skipped: int
    failed: int
    read: int
    """Rows, as all that follow."""
    inserted: int
    updated: int
    deleted: int
    """By their flag, or absent from a complete full."""
    undeleted: int
    unchanged: int
    rejected: int
    stale: int = 0
    """Older than what was stored."""
    superseded: int = 0
    """Replaced by another row of the same run."""
    no_news: int = 0
    """Parts that were read and had nothing new."""
    behind: float | None = None
    """Seconds of the source's time that the feed furthest behind has not read: 0 if all have caught up."""
    furthest: str | None = None
    """That feed."""
    seconds: float
    failures: tuple[str, ...] = ()
    """One line each, the first ten."""
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One message for people. Its texts may hold anything; what is sent of them is redacted, cut and escaped."""

    kind: Kind
    title: str
    text: str
    """May have several lines."""
    facts: tuple[tuple[str, str], ...] = ()
    """Names and values; the first sixteen are shown."""
    link: str | None = None
    """Where to read on. Sent without its query: what signs in is not for a chat."""
    severity: Severity
    key: str
    """Alerts with the same one are the same alert, see ``same``. Safe in names of blobs and files."""
    summary: Summary | None = None
    """What it sums up, if it does; receivers of JSON get it whole."""


def run_message(run: Run) -> str | None:
    """What somebody should know of *run*, in one line; None if it was flawless, or dry."""
    if run.status == "failed":
        return one_line(f"{run.feed} failed: {run.error or 'no error was recorded'}")
    if run.status == "dry":
        return None
    message = []
    if run.rejected:
        message.append(f"rejected {run.rejected:,} of {counted(run.read, 'row')}")
    if run.values_rejected:
        message.append(f"rejected {counted(run.values_rejected, 'value')}")
    message += [part for part in (run.note or "").split("; ") if part.startswith(CHECK)]
    if run.kind == "full" and not run.complete:
        why = f": {run.note}" if run.note else ""
        message.append(f"merged a full without deleting the rows it lacks{why}")
    return one_line(f"{run.feed} {'; '.join(message)}") if message else None


def summarize(
    job: str, what: str, outcomes: Sequence[Mapping[str, Any]], seconds: float, link: str | None = None
) -> Summary:
    """The outcomes of a job's parts, as JSON made them, in one summary. Counts that are missing are 0."""
    by_status = [outcome.get("status") for outcome in outcomes]
    done, no_news, failed = (by_status.count(status) for status in ("done", "no news", "failed"))
    behind, furthest = _furthest_behind(outcomes)
    return Summary(
        job=job,
        what=one_line(what),
        status="done" if not failed else "partly" if done or no_news else "failed",
        files=len(outcomes),
        done=done,
        skipped=by_status.count("skipped"),
        failed=failed,
        read=_total(outcomes, "read"),
        inserted=_total(outcomes, "inserted"),
        updated=_total(outcomes, "updated"),
        deleted=_total(outcomes, "deleted") + _total(outcomes, "absent"),
        undeleted=_total(outcomes, "undeleted"),
        unchanged=_total(outcomes, "unchanged"),
        rejected=_total(outcomes, "rejected"),
        stale=_total(outcomes, "stale"),
        superseded=_total(outcomes, "superseded"),
        no_news=no_news,
        behind=behind,
        furthest=furthest,
        seconds=seconds,
        failures=tuple(map(_failure, [o for o in outcomes if o.get("status") == "failed"][:_MOST_FAILURES])),
        link=link,
    )


def alert_for_summary(summary: Summary) -> Alert:
    """The alert that tells how a job ended; ``info`` if there is nothing to look at."""
    flawless = summary.status == "done" and not summary.rejected
    return Alert(
        kind="summary",
        title=f"{_ending(summary)}: {summary.what}",
        text="\n".join(_story(summary)),
        facts=tuple(_facts(summary)),
        link=summary.link,
        severity="error" if summary.status == "failed" else "info" if flawless else "warning",
        key=alert_key("summary", summary.job, summary.status),
        summary=summary,
    )


def alert_for_run(run: Run, place: str, link: str | None = None) -> Alert | None:
    """The alert for one run over what lies at *place*; None if there is nothing worth telling."""
    message = run_message(run)
    if message is None:
        return None
    kind: Kind = "failure" if run.status == "failed" else "notice"
    facts = (
        ("Place", place),
        ("Client", run.client or ""),
        ("Exported", utc(run.exported_at) if run.exported_at else ""),
        ("Finished", utc(run.finished) if run.finished else ""),
        ("Run", run.id),
    )
    return Alert(
        kind=kind,
        title=f"{run.feed} failed" if kind == "failure" else f"{run.feed} was loaded with warnings",
        text=message,
        facts=tuple(fact for fact in facts if fact[1]),
        link=link,
        severity="error" if kind == "failure" else "warning",
        key=alert_key(kind, run.feed, message),
    )


def alert_for_failure(outcome: Mapping[str, Any], link: str | None = None) -> Alert:
    """The alert for a part of a job that failed before there was a run, or whose run did not come to its end."""
    subject = str(outcome.get("feed") or outcome.get("place") or "a file without a feed")
    return Alert(
        kind="failure",
        title=f"{subject} failed",
        text=_failure(outcome),
        facts=(("Place", str(outcome.get("place") or "-")),),
        link=link,
        severity="error",
        key=alert_key("failure", subject, _failure(outcome)),
    )


def alert_key(kind: Kind, subject: str, text: str = "") -> str:
    """The key of an alert of *kind* about *subject*: equal for texts that differ in numbers and ids alone.

    >>> alert_key("failure", "coolr.location", "3 rows") == alert_key("failure", "coolr.location", "4 rows")
    True
    """
    message = "\n".join((kind, subject, _CHANGING.sub("#", text)))
    return f"{kind}-{hashlib.sha256(message.encode(errors='replace')).hexdigest()[:32]}"


def _total(outcomes: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(outcome.get(name) or 0 for outcome in outcomes)


def _furthest_behind(outcomes: Iterable[Mapping[str, Any]]) -> tuple[float | None, str | None]:
    known = [one for one in outcomes if one.get("behind") is not None and one.get("status") != "skipped"]
    if not known:
        return None, None
    furthest = max(known, key=lambda outcome: float(outcome["behind"]))
    return float(furthest["behind"]), furthest.get("feed") if furthest["behind"] else None


def _failure(outcome: Mapping[str, Any]) -> str:
    subject = outcome.get("feed") or outcome.get("place") or "a file without a feed"
    return one_line(f"{subject} failed: {outcome.get('error') or 'no error was recorded'}")


def _ending(summary: Summary) -> str:
    if summary.status == "done":
        if summary.rejected:
            return "Done, with rejected rows"
        return "No news" if summary.no_news and not summary.done else "Done"
    return "Partly done" if summary.status == "partly" else "Failed"


def _story(summary: Summary) -> Iterable[str]:
    """How it went in one line, then one for each failure."""
    rest = ((summary.no_news, "without news"), (summary.skipped, "skipped"), (summary.failed, "failed"))
    parts = [f"{summary.done:,} of {summary.files:,} done", *(f"{count:,} {word}" for count, word in rest if count)]
    yield f"{', '.join(parts)}; {counted(summary.read, 'row')} read in {duration(summary.seconds)}."
    yield from summary.failures
    if more := summary.failed - len(summary.failures):
        yield f"and {more:,} more"


def _facts(summary: Summary) -> Iterable[tuple[str, str]]:
    counts = {
        "Read": summary.read,
        "Inserted": summary.inserted,
        "Updated": summary.updated,
        "Deleted": summary.deleted,
        "Undeleted": summary.undeleted,
        "Unchanged": summary.unchanged,
        "Stale": summary.stale,
        "Superseded": summary.superseded,
        "Rejected": summary.rejected,
    }
    yield from ((name, f"{count:,}") for name, count in counts.items() if count)
    if summary.behind:
        yield "Behind", f"{duration(summary.behind)} ({summary.furthest})"
    yield "Took", duration(summary.seconds)
    yield "Job", summary.job
