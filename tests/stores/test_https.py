"""One https link as a store: signed links of Azure, and other servers with their habits."""

from __future__ import annotations

import datetime as dt

from email.utils import formatdate

import pytest
import requests

from azure.storage.blob import BlobSasPermissions, generate_blob_sas

from shared.errors import ConfigError, ConflictError, TransientError
from shared.stores import open_store
from shared.stores.blob import BlobStore
from shared.stores.https import HttpsStore
from tests.advice import advised, advises, follows
from tests.servers import free_port
from tests.servers.web import listening
from tests.suites.store_suite import FileSuite, content, everything_said

NOON = dt.datetime(2026, 2, 24, 12, tzinfo=dt.UTC).timestamp()
LATER = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)


class TestSasLink(FileSuite):
    """A signed link to a blob, read as any other link."""

    @pytest.fixture
    def put(self, container):
        return lambda name, content: container.upload_blob(name, content, overwrite=True)

    @pytest.fixture
    def remove(self, container):
        return container.delete_blob

    @pytest.fixture
    def store(self, azurite, container):
        sas = generate_blob_sas(
            azurite.account, container.container_name, "a", account_key=azurite.key, expiry=LATER,
            permission=BlobSasPermissions(read=True),
        )  # fmt: skip
        store = HttpsStore(f"{container.url}/a?{sas}")
        yield store
        store._session.close()

    def test_link_tells_when_it_ends(self, store):
        """As every SAS does."""
        assert LATER.replace(microsecond=0) == store.expires


class Server:
    """A web server with one file; its habits are fields."""

    def __init__(self):
        self.content, self.modified, self.etag = b"content", NOON, '"1"'
        self.ranges = self.conditions = True
        self.location = None
        self.redirects = {}
        self.status = None
        self.seen = []

    def answer(self, path, headers):
        """Status, headers and body for a GET."""
        self.seen.append(dict(headers))
        if self.status:
            return self.status, {}, b""
        if location := self.redirects.get(path, self.location):
            return 302, {"Location": location}, b""
        known = {} if self.etag is None else {"ETag": self.etag}
        if self.modified is not None:
            known["Last-Modified"] = formatdate(self.modified, usegmt=True)
        if self.conditions and self._differs(headers):
            return 412, {}, b""
        if not self.ranges or "Range" not in headers:
            return 200, known, self.content
        first, last = (int(part) for part in headers["Range"].removeprefix("bytes=").split("-"))
        if first >= len(self.content):
            return 416, {**known, "Content-Range": f"bytes */{len(self.content)}"}, b""
        part = self.content[first : last + 1]
        return 206, {**known, "Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(self.content)}"}, part

    def _differs(self, headers):
        if "If-Match" in headers:
            return headers["If-Match"] != self.etag
        since = headers.get("If-Unmodified-Since")
        return since is not None and since != formatdate(self.modified, usegmt=True)


@pytest.fixture
def server():
    server = Server()

    with listening(server.answer) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


class _Link(FileSuite):
    @pytest.fixture
    def put(self, server):
        def put(name, content):
            if name == "a":
                server.content, server.modified = content, server.modified + 1 if server.modified else None
                if server.etag:
                    server.etag = f'"{int(server.etag.strip(chr(34))) + 1}"'

        return put

    @pytest.fixture
    def remove(self, server):
        def remove(_name):
            server.status = 404

        return remove

    @pytest.fixture
    def store(self, server):
        return open_store(f"{server.url}/a?token=canary")


class TestLinkWithEtag(_Link):
    """A server that knows ETags and conditions."""


class TestLinkWithoutEtag(_Link):
    """A server that tells a file's time alone."""

    @pytest.fixture
    def server(self, server):
        server.etag = None
        return server


class TestLinkWithoutConditions(_Link):
    """A server that answers whatever it is asked under: what it answers is looked at."""

    @pytest.fixture
    def server(self, server):
        server.conditions = False
        return server


class TestLinkWithoutTime(_Link):
    """A server that has ETags and no times."""

    @pytest.fixture
    def server(self, server):
        server.modified = None
        return server

    def test_file_without_a_time_says_nothing_of_its_export(self, store, put):
        """Then the operator or its cursor has to."""
        put("a", b"1")

        assert [False] == [file.remote for file in store.list()]


def test_name_is_the_link_without_what_signs_in(server):
    """Decoded, so that every way to write it is one."""
    link = f"{server.url.replace('http://', 'http://me:canary@')}/exports/a%20b.parquet?sig=canary#part"

    (file,) = open_store(link).list()

    assert f"{server.url}/exports/a b.parquet" == file.name


def test_weak_etag_is_not_trusted(server):
    """It stays the same for what its server thinks is about the same; the time is exact."""
    server.etag = 'W/"1"'

    (file,) = open_store(f"{server.url}/a").list()

    assert f"7-{NOON:.0f}" == file.version


def test_content_is_requested_as_it_is_stored(server):
    """Ranges of something compressed on the way would be other bytes."""
    list(open_store(f"{server.url}/a").list())

    assert "identity" == server.seen[0]["Accept-Encoding"]


def test_redirect_is_followed(server):
    """Many links lead to a signed one."""
    server.redirects = {"/link": f"{server.url}/signed"}
    store = open_store(f"{server.url}/link")

    (file,) = store.list()

    assert f"{server.url}/link" == file.name
    assert b"content" == content(store, file)


REFUSED = [
    follows("Download it and load the file", {"ranges": False}, "cannot be read in parts: its server ignores Range"),
    follows(
        "Download it and load the file",
        {"etag": None, "modified": None}, "does not say its size, or neither ETag nor Last-Modified", id="no version",
    ),
    follows(
        "Ask for a new link: this one has expired, is truncated (put it in quotes), or is for another client",
        {"status": 401}, "is refused (401)",
    ),
    follows("Ask for a new link", {"status": 404}, "does not exist (404)"),
    follows("Ask for a new link", {"status": 418}, "answers 418", id="418"),
    follows(
        "Ask for a direct https link",
        {"location": "ftp://elsewhere/a?canary"}, "redirects to something that is not an https link",
    ),
    follows("Ask for a direct https link", {"location": "/a?canary"}, "redirects too many times", id="circles"),
]  # fmt: skip


@pytest.mark.parametrize(("advice", "habit", "said"), REFUSED)
def test_links_that_cannot_be_read_are_reported(server, tmp_path, advice, habit, said):
    """In a line that holds no more of the link than its name; as advised, they are read."""
    usual = {name: getattr(server, name) for name in habit}
    for name, value in habit.items():
        setattr(server, name, value)

    error = _refused(f"{server.url}/a?sig=canary")
    assert said in error
    advises(advice, error)

    if advice.startswith("Download"):
        (tmp_path / "a").write_bytes(requests.get(f"{server.url}/a", timeout=60).content)
        store = open_store(str(tmp_path / "a"))
    else:  # the new link leads to the file
        for name, value in usual.items():
            setattr(server, name, value)
        store = open_store(f"{server.url}/a?sig=canary2")
    assert [b"content"] == [content(store, file) for file in store.list()]


def test_expired_link_is_reported_with_its_time(server):
    """As far as it says so itself."""
    server.status = 403

    said = _refused(f"{server.url}/a?se=2020-01-01&sig=canary")

    assert ("2020-01-01 00:00:00",) == advises("Ask for a new link: its SAS expired at {} UTC", said)
    server.status = None
    assert 1 == len(list(open_store(f"{server.url}/a?se=2099-01-01&sig=canary").list()))


@pytest.mark.parametrize("status", [429, 503])
def test_busy_server_is_called_again_and_then_given_up(server, status):
    """So many times and no more."""
    server.status = status

    with advised(
        "Several tries have failed: load again later, and if it lasts, ask whoever runs that server"
    ) as advice:
        list(open_store(f"{server.url}/a").list())
    assert f"is busy ({status})" in advice.error.problem
    assert 3 == len(server.seen)

    server.status = None
    assert 1 == len(list(open_store(f"{server.url}/a").list()))


@pytest.mark.parametrize("status", [403, 404])
def test_refusal_is_not_called_again(server, status):
    """Nothing changes by asking."""
    server.status = status

    _refused(f"{server.url}/a")

    assert 1 == len(server.seen)


def test_changed_file_is_not_requested_again(server):
    """What was listed will not come back."""
    store = open_store(f"{server.url}/a")
    (file,) = store.list()
    server.etag = '"2"'
    before = len(server.seen)

    with store.open(file) as opened, pytest.raises(ConflictError):
        opened.read(1)
    assert before + 1 == len(server.seen)


def test_plain_http_is_for_this_machine_alone():
    """What signs in would travel for all to read."""
    assert "http://example.test is not encrypted. Start it with https://." in _refused(
        "http://example.test/a?sig=canary"
    )
    assert "http://127.example.test is not encrypted" in _refused("http://127.example.test/a?sig=canary")


def test_redirect_never_leaves_encryption():
    """The store for an https link has no way to speak http."""
    assert ["https://"] == list(HttpsStore("https://example.test/a")._session.adapters)


def test_refused_connection_may_pass():
    """A server that restarts is back soon."""
    port = free_port()
    with advised("Start it, or correct the port, and load again") as advice:
        list(open_store(f"http://127.0.0.1:{port}/a?sig=canary").list())
    assert isinstance(advice.error, TransientError)
    assert "canary" not in everything_said(advice.error)

    with listening(Server().answer) as other:
        assert 1 == len(list(open_store(f"http://127.0.0.1:{other}/a?sig=canary").list()))


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://acme.blob.core.windows.net/exports/a.parquet?sv=1&sig=x", BlobStore),
        ("https://acme.dfs.core.windows.net/exports?sv=1&sig=x", BlobStore),
        ("http://127.0.0.1:10000/devstoreaccount1/exports?sv=1&sig=x", BlobStore),
        ("https://cdn.acme.com/exports/a.parquet?sv=1&sig=x", HttpsStore),
        ("https://acme.blob.core.windows.net.evil.example/c/a.parquet", HttpsStore),
        ("http://127.0.0.1:10000/exports/a.parquet", HttpsStore),
    ],
)
def test_links_to_blob_storage_are_distinguished_from_others_by_their_host(url, kind):
    """Everything else behind https is one file."""
    assert kind is type(open_store(url))


@pytest.mark.parametrize("url", ["https://", "https:///a", "https://[half/a"])
def test_links_without_a_host_are_refused(url):
    """In our words, not the library's."""
    with pytest.raises(ConfigError, match="host"):
        open_store(url)


def test_a_link_is_written_as_advised():
    with advised("Write https://<host>/<path>"):
        open_store("https:///a")
    with advised("Start it with https://"):
        open_store("http://x.test/a")

    assert isinstance(open_store("https://x.test/a"), HttpsStore)


def _refused(url):
    with pytest.raises(ConfigError) as caught:
        list(open_store(url).list())
    assert "canary" not in everything_said(caught.value)
    return str(caught.value)
