"""Sets of MarketSharp that are read in pieces."""

from __future__ import annotations

import pytest

from tests.servers.http import Reply
from tests.servers.marketsharp import guid
from tests.sources.odata.test_odata import PAGES, active, contact, stored
from tests.sources.pieces import job, left

EACH_PAGE = {"SYNC_STEP": "0", "BATCH_ROWS": "1"}


@PAGES
@pytest.mark.parametrize("table", ["contact", "kind"])
def test_a_set_is_read_piece_by_piece(open_app, server, page, table):
    """By the service's links, by the cursor, and by number in a set that has none."""
    server.page = page
    app = open_app(size=2 if page is None else 100, **EACH_PAGE)
    server.entities["Contacts"] = [contact(n) for n in range(1, 8)] + [contact(8, lastUpdate=None)]
    server.entities["ContactTypes"] = [{"id": guid(n), "name": f"Kind {n}"} for n in range(1, 8)]

    pieces, outcome = job(app, f"crm.{table}", twice=True)

    assert 4 <= pieces
    count = len(server.entities[{"contact": "Contacts", "kind": "ContactTypes"}[table]])
    assert ("done", count) == (outcome["status"], outcome["inserted"])
    assert {guid(n) for n in range(1, count + 1)} == active(app, table)
    assert [] == left(app)


def test_a_link_that_the_service_does_not_know_any_more_begins_the_set_anew(open_app, server):
    server.page = 2
    app = open_app(size=100, **EACH_PAGE)
    server.entities["Contacts"] = [contact(n) for n in range(1, 8)]

    def expire(piece):
        if piece == 2:
            server.faults.append(lambda _: Reply(410, b"gone"))

    _, outcome = job(app, "crm.contact", between=expire)

    assert 7 == outcome["inserted"]
    assert "does not know the link to the next page of Contacts any more" in outcome["note"]
    assert 7 == len(stored(app))
