"""Leases: a run is done by one job at a time, whatever else is started for its work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from shared.documents import open_documents
from shared.jobs.leases import Holder, Lease
from shared.jobs.request import ExportedFile, PullFeed, UnitRequest
from tests.exports import open_test_app

STARTED = "2026-02-24T12:00:00.000000"
WORK = ExportedFile(url="https://acme.test/exports/a.parquet", etag="1")


@pytest.fixture
def documents(tmp_path):
    return open_documents(open_test_app(tmp_path, STATE_URL=str(tmp_path / "state")).settings)


def holder(job, started=STARTED):
    return Holder.of(UnitRequest(job=job, started=started, work=WORK, unit=0), f"jobs/{job}/{started}/0/unit")


def test_a_run_is_done_by_one_job_at_a_time(documents):
    """The second job gets to know the first; the first may acquire it again; only the holder releases it."""
    lease, one, other = Lease(documents, "r"), holder("blob:1"), holder("export:1")

    mine = lease.acquire(one, 0.0, 60.0)

    assert mine.is_same(one)
    assert "blob:1" == lease.acquire(other, 30.0, 60.0).job
    assert mine == lease.acquire(one, 30.0, 60.0)
    lease.release(other)
    assert (True, False) == (lease.is_held(mine), lease.is_held(other))
    lease.release(mine)
    assert lease.acquire(other, 31.0, 60.0).is_same(other)


def test_an_expired_lease_is_taken_over(documents):
    """And the document that lets the former holder go on is removed."""
    lease, one, other = Lease(documents, "r"), holder("blob:1"), holder("export:1")
    documents.put(one.document, b"{}")
    first = lease.acquire(one, 0.0, 60.0)

    second = lease.acquire(other, 60.0, 60.0)

    assert second.is_same(other)
    assert (False, True) == (lease.is_held(first), lease.is_held(second))
    assert documents.get(one.document) is None


def test_of_several_attempts_the_last_one_has_the_lease(documents):
    """Also while an earlier one does not know yet that it was terminated; that one cannot take it back."""
    lease = Lease(documents, "r")
    attempts = holder("blob:1"), holder("blob:1~2"), holder("blob:1~2", "2027")
    first = lease.acquire(attempts[0], 0.0, 60.0)

    second = lease.acquire(attempts[1], 1.0, 60.0)
    back = lease.acquire(attempts[0], 2.0, 60.0)

    assert second.is_same(attempts[1])
    assert ("blob:1", 2) == (back.job, back.attempt)
    assert (False, True) == (lease.is_held(first), lease.is_held(second))
    assert lease.acquire(attempts[2], 3.0, 60.0).is_same(attempts[2])


def test_a_lease_that_was_taken_over_is_free_once_it_is_released(documents):
    """No document of the chain stays behind, and a late release by the former holder changes nothing."""
    lease, one, other = Lease(documents, "r"), holder("blob:1"), holder("export:1")
    first = lease.acquire(one, 0.0, 60.0)
    second = lease.acquire(other, 60.0, 60.0)

    lease.release(first)
    held = lease.is_held(second)
    lease.release(second)

    assert held
    assert [] == list(documents.entries("leases/"))


def test_one_of_many_jobs_takes_over_an_expired_lease(documents):
    """Although all of them see at the same time that it has expired."""
    lease = Lease(documents, "r")
    lease.acquire(holder("blob:1"), 0.0, 60.0)
    jobs = [holder(f"export:{number}") for number in range(16)]

    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda one: lease.acquire(one, 100.0, 60.0), jobs))

    assert 1 == len({one.job for one in found})
    assert 1 == sum(one.is_same(mine) for one, mine in zip(found, jobs, strict=True))


def test_a_takeover_that_was_interrupted_goes_on(documents):
    """The process died after it had taken the lease and before the first document said so."""
    lease, one, other = Lease(documents, "r"), holder("blob:1"), holder("export:1")
    first = lease.acquire(one, 0.0, 60.0)
    before = documents.get("leases/r/1")
    lease.acquire(other, 60.0, 60.0)
    documents.put("leases/r/1", before)

    again = lease.acquire(other, 61.0, 60.0)

    assert (2, True) == (again.number, again.is_same(replace(other, since=60.0)))
    assert "export:1" == lease.acquire(one, 62.0, 60.0).job
    assert first.number == 1


# -- windows of a pull feed


def window(job, number, started=STARTED):
    work = PullFeed(feed="shop.item")
    return Holder.of(UnitRequest(job=job, started=started, work=work, unit=number), f"jobs/{job}/{started}/{number}")


def test_the_next_window_of_a_job_has_the_lease_that_the_one_before_did_not_release(documents):
    """Its outcome stays, and a step of it that comes late gets nothing."""
    lease, before, after = Lease(documents, "shop.item"), window("sync:shop", 3), window("sync:shop", 4)
    documents.put(before.document, b"{}")
    first = lease.acquire(before, 0.0, 60.0)

    second = lease.acquire(after, 1.0, 60.0)
    late = lease.acquire(before, 2.0, 60.0)

    assert (True, "") == (second.is_same(after), second.former)
    assert late.is_same(after)
    assert (False, True) == (lease.is_held(first), lease.is_held(second))
    assert documents.get(before.document) is not None
    lease.release(second)
    assert [] == list(documents.entries("leases/"))


def test_a_pull_feed_is_read_by_one_job_at_a_time(documents):
    """Whichever of its windows they are at; a later execution of the same job takes it over."""
    lease = Lease(documents, "shop.item")
    first = lease.acquire(window("sync:shop", 3), 0.0, 60.0)

    other = lease.acquire(window("sync:shop.item", 9), 1.0, 60.0)
    later = lease.acquire(window("sync:shop", 0, "2027"), 2.0, 60.0)

    assert "sync:shop" == other.job == later.job
    assert ("2027", first.document) == (later.started, later.former)


def test_units_of_an_export_do_not_take_over_from_each_other(documents):
    """They are loaded side by side, and two of them may be one run."""
    lease = Lease(documents, "r")
    one, other = (
        Holder.of(UnitRequest(job="export:1", started=STARTED, work=WORK, unit=unit), f"jobs/{unit}") for unit in (0, 1)
    )  # fmt: skip
    lease.acquire(one, 0.0, 60.0)

    assert lease.acquire(other, 1.0, 60.0).is_same(one)
