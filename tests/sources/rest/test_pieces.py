"""Lists of an API that are read in pieces: each step of a job begins where the one before has ended."""

from __future__ import annotations

import re

import pytest

from shared.errors import TransientError
from shared.jobs.documents import DocumentedCuts
from shared.jobs.request import PullFeed, UnitRequest
from shared.jobs.running import runs_in_progress
from shared.pipeline import pull
from shared.pipeline import sync as syncing
from shared.pipeline.pieces import END, InPieces
from shared.pipeline.progress import Progress
from shared.rest.pages import without_secrets
from shared.sources import open_pull_source
from tests.advice import advises
from tests.servers.api import TOKEN
from tests.servers.http import as_json
from tests.sources.pieces import STARTED, job, left
from tests.sources.rest.conftest import PAGINGS
from tests.sources.rest.test_sync import PATH, person, stored, sync

DECLARED = 'columns = "declared"\n[tables.people.types]\nid = "bigint"\nname = "text"\nupdated_at = "timestamp"'
EACH_PAGE = {"more": DECLARED, "SYNC_STEP": "0", "BATCH_ROWS": "1"}
"""Every page is a piece."""


@pytest.mark.parametrize("paging", PAGINGS)
def test_a_job_reads_every_kind_of_pages_piece_by_piece(open_app, server, paging):
    """Every row once, whoever does the steps and however often; a list without pages is one piece."""
    app = open_app(paging=paging, **EACH_PAGE)
    server.size = 100 if paging == "none" else 2
    server.lists[PATH] = [person(n) for n in range(1, 8)]

    pieces, outcome = job(app, "acme.people", twice=True)

    assert {"none": 1, "offset": 5}.get(paging, 4) == pieces
    assert ("done", 7, 7) == (outcome["status"], outcome["read"], outcome["inserted"])
    assert list(range(1, 8)) == sorted(stored(app))
    assert [] == left(app)


@pytest.mark.parametrize("paging", ["page", "cursor"])
def test_a_sync_of_the_command_line_reads_in_pieces(open_app, server, paging):
    app = open_app(paging=paging, **EACH_PAGE)
    server.size = 2
    server.lists[PATH] = [person(n) for n in range(1, 8)]

    result = sync(app)

    assert ("done", 7, 7) == (result.outcome, result.counts["read"], result.counts["inserted"]), result.reason


def test_a_token_that_is_refused_on_the_way_begins_the_list_anew(open_app, server):
    """What was read before it does not count, rejected rows neither, and the run says so."""
    app = open_app(paging="cursor", **EACH_PAGE)
    server.size = 2
    server.lists[PATH] = [person(n) for n in range(1, 13)]
    server.lists[PATH][1] = person(2, updated_at="soon")

    def expire(piece):
        if piece == 2:
            server.lists[PATH].remove(server.lists[PATH][0])
            server.faults.append(lambda _: as_json({"message": "the token has expired"}, 400))

    pieces, outcome = job(app, "acme.people", twice=True, between=expire)

    assert ("done", 11, 1, 10) == (outcome["status"], outcome["read"], outcome["rejected"], outcome["inserted"])
    assert "read anew: 127.0.0.1 does not read on where it was read to (400)" in outcome["note"]
    assert [*range(3, 13)] == sorted(stored(app))
    assert 1 == len(list(app.warehouse.rejects("acme.people")))
    assert 9 == pieces


def test_a_token_that_is_refused_every_time_ends_the_job_with_a_reason(open_app, server):
    app = open_app(paging="cursor", **EACH_PAGE)
    server.size = 2
    server.lists[PATH] = [person(n) for n in range(1, 8)]

    with pytest.raises(TransientError, match="however often it is read from its beginning") as refused:
        job(
            app, "acme.people",
            between=lambda _: server.faults.append(lambda one: as_json({}, 410) if "after" in one.query else None),
        )  # fmt: skip
    server.faults.clear()

    advises("Set SYNC_STEP to more seconds, so that the list is read in fewer steps", str(refused.value))
    assert 7 == sync(open_app(paging="cursor", **{**EACH_PAGE, "SYNC_STEP": "300"})).counts["inserted"]


def test_two_tries_at_a_piece_end_at_the_same_place(open_app, server):
    """The one that is late has read on, for a while, and may not count for more than the other one."""
    app = open_app(paging="cursor", **EACH_PAGE)
    server.size = 2
    server.lists[PATH] = [person(n) for n in range(1, 9)]
    feed = app.systems["acme"].feed("people", ())
    request = UnitRequest(job="sync:1", work=PullFeed(feed="acme.people"), started=STARTED, unit=0)

    def read(seconds):
        source = open_pull_source(feed, app.settings)
        part = source.describe(pull.window(feed, source, app.ledger, now=STARTED)).slices[0]
        cuts = DocumentedCuts(app.documents, request)
        found = list(InPieces(source, seconds, lambda: 0.0, cuts).read(part))
        return part, [one for one in found if hasattr(one, "num_rows")], found[-1]

    _, first, rest = read(0.0)
    part, second, again = read(99.0)

    assert rest == again
    assert [one.num_rows for one in first] == [one.num_rows for one in second]

    app.documents.delete(f"jobs/sync:1/{STARTED}/0/cut/0")
    read(99.0)
    assert END == DocumentedCuts(app.documents, request).known(part)
    assert 8 == sum(one.num_rows for one in read(0.0)[1])

    class Late(DocumentedCuts):
        def known(self, part):
            return None

        def decide(self, part, found):
            return rest

    with pytest.raises(TransientError, match="was read by two processes") as late:
        list(InPieces(open_pull_source(feed, app.settings), 99.0, lambda: 0.0, Late(app.documents, request)).read(part))
    advises("Nothing to do: the next try ends where the other one has", str(late.value))


def test_a_list_that_leads_back_to_where_it_was_read_has_an_end(open_app, server):
    """Also where the circle is longer than one piece."""
    app = open_app(paging="cursor", **EACH_PAGE)
    server.routes[PATH] = lambda request: as_json({
        "data": {"items": [person(int(request.query.get("after", 0)) % 50)]},
        "paging": {"next": {"after": str((int(request.query.get("after", 0)) + 1) % 7 or 7)}},
    })  # fmt: skip

    result = sync(app)

    assert "would have no end of pages: it names a next page that was read before" in result.reason
    assert 40 > len(server.calls)


def test_a_place_to_read_on_has_no_secret():
    assert "https://h/a?b=1" == without_secrets(f"https://h/a?key={TOKEN}&b=1", [TOKEN])


def test_progress_shows_calls_and_the_share_of_the_rate(open_app, server):
    """Rows a second, requests, retries and the share of the rate; machines get the calls with the result."""
    rate = DECLARED.replace("[tables.people.types]", "rate = { requests = 1000, seconds = 10 }\n[tables.people.types]")
    app = open_app(paging="cursor", **{**EACH_PAGE, "more": rate})
    server.size = 2
    server.lists[PATH] = [person(n) for n in range(1, 8)]
    server.faults.append(lambda _: as_json({}, 503))
    details = []

    class Shown(Progress):
        def detail(self, text):
            details.append(text)

    (result,) = syncing.sync(app.runner, app.settings, "acme", ["people"], syncing.SyncOptions(), Shown())

    assert (5, 1, 0.005) == (result.calls.requests, result.calls.retries, result.calls.share)
    assert re.fullmatch(r"[\d,]+ rows/s, \d requests?, 1 retry, [01] % of the rate", details[-1])


def test_a_job_in_progress_shows_the_calls_of_the_pieces_that_are_done(open_app, server):
    app = open_app(paging="cursor", **EACH_PAGE)
    server.size = 2
    server.lists[PATH] = [person(n) for n in range(1, 8)]
    seen = []

    job(app, "acme.people", between=lambda _: seen.extend(runs_in_progress(app.documents)))

    assert [(2, 1), (3, 2), (4, 3)] == [(one.slices, one.staged) for one in seen]
    assert [1, 2, 3] == [one.calls.requests for one in seen]
    assert all(one.rows_per_second for one in seen)
