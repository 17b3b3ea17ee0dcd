"""Do a unit of work in each destination of its feed; the source is read once for those that take it together."""

from __future__ import annotations

import contextvars
import datetime as dt
import threading

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.errors import ConfigError, IngestError
from shared.ids import run_id
from shared.ledger.of_destination import name_in_ledger
from shared.model import FeedName, Run, Unit, to_text
from shared.pipeline.progress import Progress, Result
from shared.pipeline.runner import Bug, Runner, RunOptions, error_text
from shared.pipeline.shared_read import SharedSource
from shared.settings import naming_setting
from shared.sources import Source


class Stopped(KeyboardInterrupt):
    """The work was abandoned. No error: whatever was merged stays, and the rest is for the next time."""


@dataclass(frozen=True, slots=True)
class Target:
    """A destination of a feed, and its runner, or why there is none."""

    name: str
    found: Runner | ConfigError
    now: Callable[[], dt.datetime]
    """The time, aware."""

    @property
    def runner(self) -> Runner:
        """ConfigError if there is none."""
        if isinstance(self.found, ConfigError):
            raise self.found
        return self.found


def targets(runner: Runner, feed: str, chosen: str | None = None) -> list[Target]:
    """The destinations of *feed*; only the *chosen* one, if one is. ConfigError if the feed does not go there."""
    names = destinations_of(runner, feed)
    if chosen is not None and chosen not in names:
        raise ConfigError(
            f"{feed} does not go to {chosen!r}, only to {', '.join(names)}",
            fix="Name another destination, or add this one to `destinations` in the catalog",
        )
    return [_target(runner, name) for name in (names if chosen is None else (chosen,))]


def destinations_of(runner: Runner, feed: str) -> tuple[str, ...]:
    """The destinations of *feed* by name: of one whose system is not in the catalog, that of *runner*."""
    name = FeedName.parse(feed)
    system = runner.systems.get(name.system)
    return system.destinations(name.table) if system else (runner.destination,)


def runner_to_look_at(runner: Runner, feed: str, chosen: str | None) -> Runner:
    """The runner of the *chosen* destination, else of the first one of *feed*. ConfigError if there is none."""
    return runner.of(chosen or destinations_of(runner, feed)[0])


def _target(runner: Runner, name: str) -> Target:
    try:
        return Target(name, runner.of(name), runner.now)
    except ConfigError as error:
        return Target(name, error, runner.now)


def run_in_each(
    into: Sequence[Target],
    feed: str,
    units: Mapping[str, Unit],
    source: Source,
    options: RunOptions,
    *,
    place: str,
    progress: Progress,
) -> list[Result]:
    """Do a unit in each of some destinations: what became of it in each. One that fails stops no other.

    *units* are by destination, and the same but for the watermarks that they start from. Into one destination alone it
    raises what its runner raises.
    """
    if len(into) == 1 and isinstance(into[0].found, Runner):
        only = into[0].found
        return [only.run_unit(feed, units[into[0].name], source, options, place=place, progress=progress)]
    stop = threading.Event()
    shared = SharedSource(source)
    readers = [shared.reader() for _ in into]

    def run(number: int) -> Result:
        target = into[number]
        shown = _Stoppable(progress, stop) if number == 0 else _Silent(progress, stop)
        try:
            return target.runner.run_unit(
                feed, units[target.name], readers[number], options, place=place, progress=shown
            )
        except Exception as error:  # noqa: BLE001 - a destination that fails, even by a bug, stops no other
            return failed(target, feed, units[target.name], _logged(error), place)
        finally:
            readers[number].close()

    return _together(run, len(into), stop)


def failed(target: Target, feed: str, unit: Unit, error: Exception, place: str) -> Result:
    """The result of a unit that failed before its run could be recorded."""
    text, now = naming_setting(error_text(error), target.name), to_text(target.now())
    work = [(work.id, 0) for work in unit.work_items]
    run = Run(
        id=run_id(name_in_ledger(feed, target.name), work), feed=feed, kind=unit.kind, started=now,
        finished=now, files=tuple(work.name for work in unit.work_items), exported_at=unit.exported_at,
        status="failed", error=text,
    )  # fmt: skip
    return Result(table=FeedName.parse(feed).table, place=place, destination=target.name, run=run)


def _logged(error: Exception) -> Exception:
    """A bug was logged, with its traceback, where it was raised."""
    return error if isinstance(error, IngestError) else Bug(f"{type(error).__name__}: {error}")


def _together(run: Callable[[int], Result], count: int, stop: threading.Event) -> list[Result]:
    """What *run* returns for each number, all at the same time. Should one be abandoned, so are the others."""
    with ThreadPoolExecutor(count, thread_name_prefix="destination") as pool:
        try:
            running = [pool.submit(contextvars.copy_context().run, run, number) for number in range(count)]
            return [one.result() for one in running]
        finally:
            stop.set()


class _Stoppable(Progress):
    """The progress of one run among several, which ends at its next batch once the others are abandoned."""

    def __init__(self, shown: Progress, stop: threading.Event) -> None:
        super().__init__()
        self._shown, self._stop = shown, stop

    def start(self, label: str, rows: int) -> None:
        self._shown.start(label, rows)

    def rows(self, count: int) -> None:
        if self._stop.is_set():
            raise Stopped
        self._shown.rows(count)

    def detail(self, text: str) -> None:
        self._shown.detail(text)

    def phase(self, label: str) -> None:
        self._shown.phase(label)

    def wait(self, text: str) -> None:
        self._shown.wait(text)

    def warn(self, text: str) -> None:
        self._shown.warn(text)


class _Silent(_Stoppable):
    """The progress of a run beside one that is shown: its rows are the same rows."""

    def start(self, label: str, rows: int) -> None:
        pass

    def rows(self, count: int) -> None:
        super().rows(0)

    def phase(self, label: str) -> None:
        self.rows(0)
