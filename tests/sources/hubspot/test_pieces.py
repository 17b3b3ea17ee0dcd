"""Lists and windows of HubSpot that are read in pieces."""

from __future__ import annotations

import datetime as dt

from dataclasses import replace

import pytest

from tests.servers.http import as_json
from tests.sources.hubspot.test_hubspot import MINUTE, active, done, later, stored
from tests.sources.pieces import job, left

EACH_PAGE = {"SYNC_STEP": "0", "BATCH_ROWS": "1"}


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    """Three records a page, so that few make many pieces."""
    from shared.sources.hubspot import calls, source

    monkeypatch.setattr(calls, "_PAGING", replace(calls._PAGING, size=3))
    monkeypatch.setattr(source, "LIST", 3)


def filled(server, count=8):
    for n in range(1, count + 1):
        server.put("contacts", n, server.now - dt.timedelta(days=2) + n * MINUTE, email=f"{n}@acme.test")
    return server


def test_a_first_list_is_read_piece_by_piece(open_app, server):
    """Archived and merged records first: a merged one that is listed as archived names what it was merged into."""
    filled(server)
    server.archive("contacts", 1)
    server.put("contacts", 2, server.now - 60 * MINUTE, hs_merged_object_ids="9")
    server.put("contacts", 9, server.now - dt.timedelta(days=3))
    server.archive("contacts", 9)
    app = open_app(**EACH_PAGE)

    pieces, outcome = job(app, "crm.contact", twice=True)

    assert 4 == pieces  # archived ones, and three pages of others
    assert ("done", 10, 1) == (outcome["status"], outcome["read"], outcome["superseded"])
    assert {2, 3, 4, 5, 6, 7, 8} == set(active(app))
    assert (9, 2, True) == tuple(stored(app)[9][name] for name in ("id", "merged_into", "archived"))
    assert [] == left(app)


def test_many_properties_are_read_in_pieces_too(open_app, server):
    """Then ids are listed, and records read in batches."""
    filled(server)
    server.properties |= {f"property_{n:04}_{'x' * 40}": "string" for n in range(200)}
    app = open_app(**EACH_PAGE)

    pieces, outcome = job(app, "crm.contact", twice=True)

    assert (3, 8) == (pieces, outcome["inserted"])


def test_a_window_is_read_piece_by_piece(open_app, server):
    """By the ids that the searches go on from; what changes meanwhile costs no row."""
    filled(server, 2)
    app = open_app(**EACH_PAGE)
    done(app)
    later(server, app, hours=1)
    for n in range(10, 310):
        server.put("contacts", n, server.now - 20 * MINUTE)

    def change(piece):
        if piece == 4:
            server.put("contacts", 10)
            server.put("contacts", 309)

    pieces, outcome = job(app, "crm.contact", between=change)

    assert 101 == pieces
    assert "done" == outcome["status"]
    later(server, app, hours=1)
    done(app)
    assert 302 == len(active(app))


def test_a_page_that_hubspot_does_not_know_any_more_begins_the_list_anew(open_app, server):
    filled(server)
    app = open_app(**EACH_PAGE)
    expired = as_json({"status": "error", "category": "VALIDATION_ERROR", "message": "invalid after"}, 400)

    def expire(piece):
        if piece == 2:
            server.faults.append(lambda _: expired)

    pieces, outcome = job(app, "crm.contact", between=expire)

    assert (6, 8) == (pieces, outcome["inserted"])
    assert "read anew" in outcome["note"]


def test_associations_are_read_in_pieces(open_app, server, monkeypatch):
    from shared.sources.hubspot import associations

    monkeypatch.setattr(associations, "ASSOCIATED", associations.LIST)
    monkeypatch.setattr(associations, "_BATCH", 1)
    filled(server)
    server.put("companies", 50)
    label = {"category": "HUBSPOT_DEFINED", "typeId": 1, "label": None}
    server.associations["contacts", "companies"] = {
        n: [{"toObjectId": 50, "associationTypes": [label]}] for n in range(1, 9)
    }
    app = open_app(**EACH_PAGE)

    pieces, outcome = job(app, "crm.contact_company", twice=True)

    assert (3, 8) == (pieces, outcome["inserted"])
