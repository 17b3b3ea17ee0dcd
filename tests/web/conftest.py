"""Sites of every kind: with a container of exports, with notifications, with a pull feed."""

from __future__ import annotations

import contextlib
import json
import shutil

import pyarrow as pa
import pytest
import stamina

from shared import catalog
from shared.sources import sql
from tests.servers.web import served
from tests.standins.fakes import MemoryPullSource
from tests.web.site import SECRET, Site, day


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Nothing that it answered has a key of the host, or a link that carries one."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(stamina.set_testing(True, attempts=1))
        site = Site(tmp_path, monkeypatch, stack)
        yield site
        if site.held:
            site.held.set()
        assert "code=KEY" in (site.host.durable.client_binding() if site.host else "code=KEY")
        for answer in site.answers:
            said = json.dumps([answer.body, dict(answer.headers)])
            assert "KEY" not in said
            assert "code=" not in said


@pytest.fixture
def pushed(site, azurite, container):
    """A site with a container that exports arrive in."""
    return site.opens(EXPORTS_URL=container.url, STORAGE_CONNECTION_STRING=azurite.connection_string)


@pytest.fixture
def server(site):
    """Links of notifications lead there."""
    with served() as server:
        yield server


@pytest.fixture
def notifying(site, server):
    """A site that takes notifications."""
    hosts = server.url.removeprefix("http://")
    return site.opens(COOLR_WEBHOOK_SECRET=SECRET, COOLR_WEBHOOK_HOSTS=hosts)


@pytest.fixture
def pulled(site, tmp_path, monkeypatch):
    """A site with a feed that is read from a source in memory."""
    schema = pa.schema([("Id", pa.int64()), ("At", pa.timestamp("us"))])
    site.source = MemoryPullSource(schema, [{"Id": n, "At": day(n)} for n in (1, 2, 3)], "At", "timestamp")
    monkeypatch.setattr(sql, "open_source", lambda *_: site.source)
    folder = tmp_path / "catalog"
    shutil.copytree(catalog.PACKAGED, folder)
    (folder / "shop.toml").write_text(
        '[system]\nname = "shop"\nsource = "sql"\n[tables]\nitem = { keys = ["Id"], cursor = "At" }\n'
    )
    return site.opens(CATALOG_PATH=str(folder))
