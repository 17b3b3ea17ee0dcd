"""``sluice sync --probe`` of a set: the types that its $metadata and the catalog give it, and what is unsure."""

from __future__ import annotations

from shared.pipeline.discovery import probed
from tests.servers.marketsharp import guid
from tests.sources.odata.test_odata import contact


def test_a_set_shows_its_columns_and_doubts(open_app, server):
    """By two calls, whatever its size."""
    app = open_app()
    server.entities["Contacts"] = [contact(n) for n in range(1, 4)]

    feed, found = probed(app.systems, app.settings, "crm", "contact")

    columns = {one.name: one for one in found.columns}
    assert ("crm.contact", 200, 3) == (feed.name, found.status, found.records)
    assert f"GET {server.url}/Contacts" == found.call
    assert ("text", 3, guid(1)) == (columns["id"].type, columns["id"].filled, columns["id"].example)
    assert ("integer", "boolean") == (columns["companyId"].type, columns["isDeleted"].type)
    assert [] == found.remarks
    assert 2 == len(server.calls)


def test_what_the_catalog_has_wrong_is_named(open_app, server):
    app = open_app(cursor="firstName")
    server.entities["Contacts"] = [contact(1)]

    _, found = probed(app.systems, app.settings, "crm", "contact")
    _, kinds = probed(app.systems, app.settings, "crm", "kind")

    assert "cursor firstName of Contacts is Edm.String" in found.remarks
    assert "the page has no entries" in kinds.remarks
