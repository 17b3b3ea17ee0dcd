"""A thread that pumps a hub until it is stopped, and sleeps while nothing can be done."""

from __future__ import annotations

import threading

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from tests.standins.durable_host.pump import Pump
from tests.standins.durable_host.records import Instance, Job


class Background:
    """Pumps as long as its block lasts; *workers*: how many activities are executed at once."""

    def __init__(self, pump: Pump, workers: int) -> None:
        self._pump = pump
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, "activity") if workers > 1 else None
        self._thread = threading.Thread(target=self._run, name="durable-host")
        self._busy = 0
        self._stopping = False

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._pump.change():
            self._stopping = True
        self._thread.join()
        if self._pool is not None:
            self._pool.shutdown()
        if error is None and self._pump.failure is not None:
            raise self._pump.failure

    def _run(self) -> None:
        try:
            while (job := self._next_job()) is not None:
                if self._pool is None:
                    self._perform(job)
                else:
                    self._pool.submit(self._perform, job)
        except BaseException as error:  # noqa: BLE001 - raised again where the test waits
            self._pump.fail(error)

    def _next_job(self) -> Job | None:
        """Go on until there is an activity to execute; None at the end."""
        changed = self._pump.changed
        with changed:
            while not self._stopping and self._pump.failure is None:
                # An activity takes no virtual time, so no timer overtakes one.
                done = self._pump.advance(timers=self._busy == 0, room=self._busy < self._workers)
                if isinstance(done, Job):
                    self._busy += 1
                    return done
                if done:
                    changed.notify_all()
                else:
                    changed.wait()
        return None

    def _perform(self, job: Job) -> None:
        try:
            self._pump.perform(job)
        except BaseException as error:  # noqa: BLE001 - raised again where the test waits
            self._pump.fail(error)
        finally:
            with self._pump.change():
                self._busy -= 1


def wait_for(pump: Pump, instance_id: str, timeout: float) -> Instance:
    """The instance once it has ended, also if it is not started yet; TimeoutError after *timeout* seconds."""

    def settled() -> bool:
        row = pump.hub.instances.get(instance_id)
        return pump.failure is not None or (row is not None and row.ended)

    with pump.changed:
        in_time = pump.changed.wait_for(settled, timeout)
        if pump.failure is not None:
            raise pump.failure
        row = pump.hub.instances.get(instance_id)
    if not in_time or row is None:
        raise TimeoutError(f"{instance_id!r} is {row.status if row else 'unknown'} after {timeout} seconds")
    return row
