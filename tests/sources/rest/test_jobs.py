"""Tables of an API in the whole app: the timer starts a job for them like for any other system."""

from __future__ import annotations

from tests.exports import START
from tests.sources.rest.conftest import PAGINGS, PEOPLE
from tests.sources.rest.test_sync import PATH, person, stored
from tests.standins.functions_host import functions_host

SCHEDULED = PEOPLE.format(paging=PAGINGS["cursor"], more="").replace(
    "overlap_seconds = 60", 'overlap_seconds = 60\nschedule = "*/15 * * * *"'
)


def test_the_timer_syncs_an_api(open_app, server, monkeypatch):
    """Each step opens the API anew. A system whose settings are not there is left out."""
    app = open_app(SCHEDULED)
    server.lists[PATH] = [person(n) for n in range(1, 8)]

    with functions_host(app, monkeypatch, start=START) as host:
        host.timer("sync_due")
        result = host.finished("sync:acme")

    assert 7 == result["summary"]["inserted"]
    assert 7 == len(stored(app))

    calls = len(server.calls)
    app = open_app(SCHEDULED, ACME_API_TOKEN="")
    app.now.forward(hours=1)
    with functions_host(app, monkeypatch, start=app.now.now) as host:
        host.timer("sync_due")
    assert calls == len(server.calls)
