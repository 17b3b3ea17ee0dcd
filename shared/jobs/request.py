"""What a job is asked to do, and what became of it: the types that travel between steps as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, TypeAlias

from shared.model import OUTCOMES, Json, Kind, Run, Staged
from shared.redaction import redact

COUNTS = ("read", *OUTCOMES, "absent", "values_rejected")
"""Names of the counts that outcomes take from runs."""
MAX_TEXT = 1_000
"""Characters of an error or a note that an outcome keeps."""


# -- the work of a job: one of these kinds, none of which holds a credential


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """One exported Parquet file, or one text file, in one version of its content."""

    orchestrator: ClassVar[str] = "file_job"
    always_reported: ClassVar[bool] = False
    """Whether the end of a job that went well is worth an alert."""

    url: str
    """Percent-encoded."""
    etag: str
    kind: Literal["file"] = "file"

    @property
    def title(self) -> str:
        return f"file {self.url}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFiles:
    """The text files in one archive, one unit for each member."""

    orchestrator: ClassVar[str] = "export_job"
    always_reported: ClassVar[bool] = False

    url: str
    """Percent-encoded."""
    etag: str
    kind: Literal["archive"] = "archive"

    @property
    def title(self) -> str:
        return f"archive {self.url}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFiles:
    """All part files of one table of one export."""

    orchestrator: ClassVar[str] = "file_job"
    always_reported: ClassVar[bool] = False

    url: str
    """Of their folder, percent-encoded."""
    table: str
    kind: Literal["folder"] = "folder"

    @property
    def title(self) -> str:
        return f"file {self.url}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifiedFiles:
    """The files that a notification links to, one unit for each table. The notification itself is a document."""

    orchestrator: ClassVar[str] = "export_job"
    always_reported: ClassVar[bool] = True

    id: str
    """Of the notification, see shared.jobs.notifications."""
    kind: Literal["notification"] = "notification"

    @property
    def title(self) -> str:
        return f"notification {self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectEvents:
    """The objects of a pulled system that events named, one unit for some objects of each feed (shared.jobs.events)."""

    orchestrator: ClassVar[str] = "export_job"
    always_reported: ClassVar[bool] = False

    system: str
    window: int
    """Which span of time its job was started in, by number."""
    wait: float
    """Seconds during which further events are collected before the job reads anything."""
    kind: Literal["events"] = "events"

    @property
    def title(self) -> str:
        return f"events of {self.system}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullFeed:
    """The next windows of a feed that is read from a database or an API, one unit for each window, or its keys."""

    orchestrator: ClassVar[str] = "file_job"
    always_reported: ClassVar[bool] = True

    feed: str
    keys: bool = False
    """Whether to compare the keys instead, which is one unit."""
    kind: Literal["feed"] = "feed"

    @property
    def title(self) -> str:
        return f"comparison of the keys of {self.feed}" if self.keys else f"sync {self.feed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullSystem:
    """The next windows of feeds of one system, one unit for each feed."""

    orchestrator: ClassVar[str] = "system_job"
    always_reported: ClassVar[bool] = True

    system: str
    feeds: tuple[str, ...] = ()
    """Their tables; none for all pull feeds that the system has when the job begins."""
    kind: Literal["system"] = "system"

    @property
    def title(self) -> str:
        return f"sync {self.system}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedFiles:
    """Files of the exports container that are not loaded. The job of this work starts a job for each."""

    orchestrator: ClassVar[str] = "search_job"
    always_reported: ClassVar[bool] = False

    feed: str
    failed: bool
    """Whether to load what failed before, too."""
    all_again: bool = False
    """Whether to list the whole container."""
    kind: Literal["missed"] = "missed"

    @property
    def title(self) -> str:
        return f"search for files of {self.feed}"


Work: TypeAlias = (
    ExportedFile | ArchivedFiles | PartFiles | NotifiedFiles | ObjectEvents | PullFeed | PullSystem | MissedFiles
)
"""What a job does. All but the last are loaded unit by unit."""


# -- what starts a job, and what its activities are given


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A job to start. Its id is a hash of its work, so the host refuses a second one while the first runs."""

    job: str
    work: Work
    requested_by: str | None = None
    """The feed or system for which a person requested the job; None if a trigger did."""
    max_delete_share: float | None = None
    """How many of the active rows a full of that feed may delete, where it differs from the catalog."""

    @property
    def input(self) -> dict[str, Json]:
        """What the orchestration is started with."""
        return {name: value for name, value in asdict(self).items() if name != "job" and value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest(Start):
    """What all activities of a job are given."""

    started: str
    """When this execution of the job began (text of records)."""
    table: int | None = None
    """In the job of a system: which of its tables the request is about, by number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeTable(JobRequest):
    """The next table of a system for one of its lanes: ``take_table``."""

    lane: int
    after: int
    """The table that the lane took before; -1 at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRequest(JobRequest):
    """One unit of a job, by number: ``plan``, ``publish``, ``tidy``."""

    unit: int
    destination: str | None = None
    """Which one of its feed's the request is about; None for the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedUnit(UnitRequest):
    """A unit one of whose steps failed too often: ``fail``."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRequest(UnitRequest):
    """One slice of a unit, by number: ``stage``."""

    slice: int
    beside: tuple[str, ...] = ()
    """Destinations that have planned the same: the slice is read once for them and for this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedSlice(SliceRequest):
    """A slice that failed too often: ``record_failure``."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishRequest(JobRequest):
    """The end of a job, or of one table in the job of a system: ``finish``, ``finish_table``."""

    units: int
    what: str | None = None
    """For people; the title of the work otherwise."""
    outcome: UnitOutcome | None = None
    """Of the last unit, where the orchestration knows it."""


# -- what became of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error of a slice that repeating does not correct."""

    kind: str | None
    """Class in shared.errors; None for a bug."""
    problem: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """What became of a slice: one of the three."""

    staged: Staged | None = None
    fault: Fault | None = None
    missed: str | None = None
    """The error of its last try, if it failed too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOutcome:
    """What became of one unit. Counts of rows and what describes the run are there if there was a run.

    Of a table in the job of a system: what became of all its windows together.
    """

    status: Literal["done", "no news", "failed", "skipped"]
    """``no news``: a pull feed was read, and nothing in it was new."""
    place: str
    """The file, folder or window, for people."""
    feed: str | None = None
    destination: str | None = None
    """Which one of the feed's it is about; None for the main one."""
    skipped: str | None = None
    """Why."""
    error: str | None = None
    note: str | None = None
    retryable: bool = False
    """Whether it may succeed later without anybody's help."""
    more: bool = False
    """Whether the source has rows beyond this window."""
    windows: int | None = None
    """Of a table: how many were read."""
    behind: float | None = None
    """Of a table: seconds of the source's time that were not read, 0 once it has caught up; None if not known."""
    run: str | None = None
    kind: Kind | None = None
    complete: bool | None = None
    exported_at: str | None = None
    read: int | None = None
    rejected: int | None = None
    superseded: int | None = None
    stale: int | None = None
    unchanged: int | None = None
    inserted: int | None = None
    deleted: int | None = None
    undeleted: int | None = None
    updated: int | None = None
    absent: int | None = None
    values_rejected: int | None = None

    @classmethod
    def of_run(cls, run: Run, *, more: bool = False, done: Literal["done", "no news"] = "done") -> UnitOutcome:
        counts = {name: getattr(run, name) for name in COUNTS}
        return cls(
            status="failed" if run.status == "failed" else done, place=files_of(run), feed=run.feed, run=run.id,
            kind=run.kind, complete=run.complete, exported_at=run.exported_at, more=more,
            note=short(run.note) if run.note else None, error=short(run.error) if run.error else None, **counts,
        )  # fmt: skip

    def to_json(self) -> dict[str, Json]:
        """Without what is not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def files_of(run: Run) -> str:
    """The first file of a run and how many more it has, for people."""
    more = f" and {len(run.files) - 1:,} more" if len(run.files) > 1 else ""
    return short(f"{run.files[0] if run.files else run.feed}{more}")


def short(text: str) -> str:
    """*text* in one line, without credentials, cut to ``MAX_TEXT`` characters."""
    return redact(" ".join(text.split()))[:MAX_TEXT]
