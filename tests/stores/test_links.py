"""Links that another system sent: where they may lead, what is asked of them, and how they are refused."""

from __future__ import annotations

import datetime as dt
import socket
import ssl

import pyarrow.parquet as pq
import pytest

from azure.storage.blob import BlobSasPermissions, generate_blob_sas

from shared.errors import ConfigError, ConflictError, DataError, TransientError
from shared.settings import Settings
from shared.stores import links
from shared.stores.links import LinkStore
from tests.servers.certificate import self_signed
from tests.servers.proxy import Fault, Proxy
from tests.servers.web import served
from tests.suites.store_suite import FileSuite, content, everything_said, locations

LATER = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=1)
SAS = "sv=2021-06-08&se=2036-03-03&sr=b&sp=r&sig=canary"
PUBLIC = "20.60.1.1"


@pytest.fixture
def signed(azurite, container):
    """Makes a link to one blob."""

    def make(name, expiry=LATER):
        sas = generate_blob_sas(
            azurite.account, container.container_name, name, account_key=azurite.key, expiry=expiry,
            permission=BlobSasPermissions(read=True),
        )  # fmt: skip
        return f"{container.url}/{name}?{sas}"

    return make


@pytest.fixture
def server():
    with served() as server:
        yield server


def store(*urls, most_bytes=1 << 30, resolve=lambda _: [PUBLIC]):
    return LinkStore(urls, Settings(), most_bytes=most_bytes, resolve=resolve)


def refused(call, kind=ConfigError):
    with pytest.raises(kind) as caught:
        call()
    assert "canary" not in everything_said(caught.value)
    return str(caught.value)


@pytest.fixture
def no_connection(monkeypatch):
    """Fails whoever opens a connection."""

    def connect(*_given, **_named):
        raise AssertionError("somebody has been connected to")

    monkeypatch.setattr(socket.socket, "connect", connect)


# -- what every store does with a file


class TestBlobLinks(FileSuite):
    """Two signed links to blobs."""

    @pytest.fixture
    def put(self, container):
        return lambda name, content: container.upload_blob(name, content, overwrite=True)

    @pytest.fixture
    def remove(self, container):
        return container.delete_blob

    @pytest.fixture
    def store(self, signed):
        return store(signed("a"))


class TestHttpsLinks(FileSuite):
    """A link to another server."""

    @pytest.fixture
    def put(self, server):
        versions = iter(range(1, 100))
        return lambda name, content: server.puts(f"/{name}", content, f'"{next(versions)}"')

    @pytest.fixture
    def remove(self, server):
        return lambda name: server.answers.pop(f"/{name}")

    @pytest.fixture
    def store(self, server):
        return store(f"{server.url}/a?token=canary")


# -- what is listed


def test_file_behind_each_link_is_listed_in_their_order(container, signed, server):
    """Blobs and others, by names that hold no signature."""
    container.upload_blob("b.parquet", b"12")
    container.upload_blob("c.parquet", b"123")
    server.puts("/a b.parquet".replace(" ", "%20"), b"1")

    listed = list(store(signed("c.parquet"), f"{server.url}/a%20b.parquet?sig=canary", signed("b.parquet")).list())

    assert [
        (f"{container.url}/c.parquet", 3), (f"{server.url}/a b.parquet", 1), (f"{container.url}/b.parquet", 2),
    ] == [(file.name, file.size) for file in listed]  # fmt: skip


def test_files_are_read_by_a_store_that_has_not_listed_them(signed, container):
    """Another process plans than the one that reads: what it knows of a file is enough."""
    data = locations(50)
    container.upload_blob("location.parquet", data)
    container.upload_blob("asset.parquet", b"1")
    urls = signed("location.parquet"), signed("asset.parquet")
    file, other = store(*urls).list()

    with store(*urls).open(file) as opened:
        assert 50 == pq.read_table(opened).num_rows
    assert other.version == store(*urls).etag(other)


def test_file_that_no_link_leads_to_is_refused(signed, container):
    """A plan may be older than the links."""
    container.upload_blob("a.parquet", b"1")
    container.upload_blob("b.parquet", b"1")
    (file,) = store(signed("a.parquet")).list()

    assert f"no link leads to {container.url}/a.parquet" in refused(lambda: store(signed("b.parquet")).open(file))


def test_more_files_than_connections_are_kept_for_are_read(container, signed, monkeypatch):
    """Those that were let go of are made again."""
    monkeypatch.setattr(links, "_OPEN", 2)
    names = [f"{number}.parquet" for number in range(5)]
    for name in names:
        container.upload_blob(name, name.encode())
    made = store(*map(signed, names))

    listed = list(made.list())

    assert [name.encode() for name in names] == [content(made, file) for file in listed]


def test_end_of_a_file_is_moved_once(server):
    """A footer is read for the plan and again for the rows: its store is kept in between."""
    server.puts("/a.parquet", b"content")
    made = store(f"{server.url}/a.parquet")
    (file,) = made.list()

    assert b"content" == content(made, file) == content(made, file)
    assert 2 == len(server.seen)


def test_link_to_no_blob_is_reported(container, signed):
    """Without looking for a folder of that name, which the link could not list."""
    container.upload_blob("folder/a.parquet", b"1")

    said = refused(lambda: list(store(signed("folder")).list()))

    assert f"{container.url}/folder does not exist. Ask for a new link." == said


def test_first_end_of_the_links_counts(signed):
    """Those that do not say do not count."""
    first = LATER - dt.timedelta(hours=1)

    assert first == store(signed("a"), signed("b", first), "https://files.test/c?se=2020-01-01").expires
    assert store("https://files.test/a?token=canary").expires is None


def test_file_that_is_too_large_is_refused(container, signed, server):
    """With its size, and the setting that says so; those of that very size are taken."""
    container.upload_blob("a.parquet", b"1234567")
    server.puts("/a.parquet", b"12345678")

    (taken,) = store(signed("a.parquet"), most_bytes=7).list()
    blob = refused(lambda: list(store(signed("a.parquet"), most_bytes=6).list()), DataError)
    other = refused(lambda: list(store(f"{server.url}/a.parquet", most_bytes=7).list()), DataError)

    assert 7 == taken.size
    assert "has 7 bytes, more than the limit of 6" in blob
    assert "has 8 bytes, more than the limit of 7" in other
    assert "WEBHOOK_MAX_BYTES" in blob


# -- links that are not followed


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://files.test/a.parquet?sig=canary", "does not start with https://"),
        ("http://azurite:10000/devstoreaccount1/c/a.parquet?sig=canary", "does not start with https://"),
        ("ftp://files.test/a.parquet?sig=canary", "does not start with https://"),
        ("file:///etc/passwd", "does not start with https://"),
        ("https:///a.parquet", "does not start with https://"),
        ("canary", "does not start with https://"),
        ("https://[half/a.parquet?sig=canary", "is malformed"),
        ("https://files.test:canary/a.parquet", "is malformed"),
        ("https://acme.blob.core.windows.net/c/a.parquet", "has no SAS"),
        ("https://acme.blob.core.windows.net/c/a.parquet?sv=2021-06-08&se=2036-03-03", "is truncated: it has no sig"),
        (f"https://acme.blob.core.windows.net/c?{SAS}", "is not one to a file"),
        (f"https://acme.blob.core.windows.net/c/Full/?{SAS}", "is not one to a file"),
        (f"https://acme.blob.core.windows.net?{SAS}", "names no container"),
    ],
)
def test_links_that_are_none_to_a_file_are_refused(url, said):
    """Before anything is asked of anybody: this app's own rights are not for a link to use."""
    assert said in refused(lambda: store(url))


def test_two_links_to_one_file_are_refused():
    """However they are written: as files they would be one."""
    urls = (
        f"https://acme.blob.core.windows.net/c/a.parquet?{SAS}",
        f"https://ACME.dfs.core.windows.net/c/%61.parquet?{SAS}",
    )

    assert "two links lead to one file" in refused(lambda: store(*urls))


# -- where they lead


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.8.8.8", "169.254.169.254", "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - nobody listens there
        "168.63.129.16", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fd00::1", "fc00::1", "ff02::1", "ff0e::1", "2001:db8::1", "fec0::1",
        "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1",
    ],
)  # fmt: skip
@pytest.mark.usefixtures("no_connection")
def test_host_inside_is_refused_before_it_is_connected_to(address):
    """Whatever network it leads into, and also if only one of its addresses does."""
    alone = store("https://files.test/a.parquet?sig=canary", resolve=lambda _: [address])
    among = store("https://files.test/a.parquet?sig=canary", resolve=lambda _: [PUBLIC, address])

    said = f"files.test resolves to an address that is not public ({address})"

    assert said in refused(lambda: list(alone.list()))
    assert said in refused(lambda: list(among.list()))


@pytest.mark.usefixtures("no_connection")
def test_host_inside_is_refused_for_reading_too():
    """The process that reads is not the one that has looked; a blob's host is looked at as any other."""
    (name,) = store(f"https://acme.dfs.core.windows.net/c/a.parquet?{SAS}")._links
    file = links.File(name, 1, 0.0, "1")
    requested = []
    made = store(
        f"https://acme.dfs.core.windows.net/c/a.parquet?{SAS}", resolve=lambda h: requested.append(h) or ["10.0.0.1"]
    )

    assert "is not public (10.0.0.1)" in refused(lambda: made.open(file))
    assert ["acme.blob.core.windows.net"] == requested


@pytest.mark.usefixtures("no_connection")
def test_host_without_an_address_is_refused():
    """A resolver that says nothing has not said that it is public."""
    made = store("https://files.test/a.parquet", resolve=lambda _: [])

    assert "files.test resolves to an address that is not public (no address)" in refused(lambda: list(made.list()))


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2603:1030::1", "::ffff:20.60.1.1", "64:ff9b::143c:101"])
def test_public_addresses_are_public(address):
    """Also those that another protocol carries."""
    assert links._is_public(address)


def test_address_is_resolved_once():
    """For all links to a host."""
    requested = []
    made = store("https://files.test/a", "https://files.test/b", resolve=lambda h: requested.append(h) or [PUBLIC])

    for _ in range(2):
        made._refuse_inside("files.test")

    assert ["files.test"] == requested


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_this_machine_is_followed_when_it_is_named_as_such(server, name):
    """Somebody has listed it, for a server of their own: no resolver is asked."""
    server.puts("/a.parquet", b"content")

    made = store(f"http://{name}:{server.port}/a.parquet", resolve=lambda _: ["10.0.0.1"])
    (file,) = made.list()

    assert b"content" == content(made, file)


def test_resolver_is_the_machines_own_unless_another_is_given():
    """Names as well as addresses, each address once."""
    assert ["127.0.0.1"] == links.addresses("127.0.0.1")
    assert {"127.0.0.1", "::1"} >= set(links.addresses("localhost"))


def test_unknown_host_is_reported_at_once():
    """A name that does not exist will not exist in a minute."""
    requested = []

    def resolve(host):
        requested.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    made = store("https://nowhere.test/a.parquet?sig=canary", resolve=resolve)

    assert "there is no host nowhere.test" in refused(lambda: list(made.list()))
    assert 1 == len(requested)


def test_resolver_that_is_away_may_pass():
    """It is asked again before the load is given up."""
    requested = []

    def resolve(host):
        requested.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    made = store("https://files.test/a.parquet?sig=canary", resolve=resolve)

    refused(lambda: list(made.list()), TransientError)
    assert 3 == len(requested)


def test_host_that_no_name_can_be_is_reported():
    """What Python's own encoding of names refuses is no bug of ours."""
    made = store(f"https://{'a' * 70}.test/a.parquet?sig=canary", resolve=links.addresses)

    assert "there is no host" in refused(lambda: list(made.list()))


@pytest.fixture
def secure(tmp_path, monkeypatch):
    """A server with a certificate for 127.0.0.1 that this machine trusts."""
    certificate, key = self_signed(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with served(context) as server:
        yield server


def test_name_that_leads_inside_after_it_was_looked_at_is_refused_by_its_certificate(secure, monkeypatch):
    """DNS rebinding: nothing is sent to whoever cannot prove to be the host."""
    secure.puts("/a.parquet", b"inside")
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest, **more: real("127.0.0.1", *rest, **more))
    made = store(f"https://files.test:{secure.port}/a.parquet?sig=canary")

    assert "is not trusted here" in refused(lambda: list(made.list()))
    assert [] == secure.seen


def test_certificate_for_the_host_is_trusted(secure):
    """The same server by the name that it has."""
    secure.puts("/a.parquet", b"content")

    made = store(f"https://127.0.0.1:{secure.port}/a.parquet")

    assert [7] == [file.size for file in made.list()]


# -- redirects


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["/inside", "http://[half/", "//127.0.0.1/inside", "file:///etc/passwd", "\xff", ""])
def test_redirect_is_not_followed(server, status, target):
    """Not to the host itself either: what it says is not looked at."""
    server.puts("/inside", b"inside")
    server.says("/a.parquet", status, {"Location": target} if target else {}, b"canary" * 1000)
    made = store(f"{server.url}/a.parquet?sig=canary")

    said = refused(lambda: list(made.list()))

    assert f"{server.url}/a.parquet answers with a redirect ({status}). Ask for a direct https link." == said
    assert ["/a.parquet?sig=canary"] == server.seen


def test_body_of_a_redirect_is_not_read(server):
    """It may be without end."""
    server.says("/a.parquet", 302, {"Location": "/inside", "Content-Length": str(1 << 40)}, b"some of it")

    assert "answers with a redirect (302)" in refused(lambda: list(store(f"{server.url}/a.parquet").list()))


def test_redirect_half_way_is_not_followed(server):
    """A server may change its mind between the first look and the reading."""
    server.puts("/a.parquet", b"content")
    made = store(f"{server.url}/a.parquet")
    (file,) = made.list()
    server.says("/a.parquet", 302, {"Location": f"{server.url}/inside"})

    with made.open(file) as opened:
        assert "answers with a redirect (302)" in refused(opened.read)
    assert "/inside" not in server.seen


def test_redirect_of_a_blob_is_not_followed(azurite, container, signed, server):
    """Neither when it is looked for nor when it is read."""
    container.upload_blob("a.parquet", b"content")
    head = f"HTTP/1.1 302 Found\r\nLocation: {server.url}/inside?sig=canary\r\n"
    answer = f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
    with Proxy.to(azurite.blob_url) as proxy:
        made = store(proxy.through(signed("a.parquet")))
        (file,) = made.list()
        proxy.faults.append(Fault(when=lambda _: True, times=9, answer=answer))

        looked = refused(lambda: list(made.list()))
        with made.open(file) as opened:
            read = refused(opened.read)

    for said in (looked, read):
        assert "a.parquet answers with a redirect (302), which Blob Storage never does" in said
    assert [] == server.seen


# -- answers


@pytest.mark.parametrize("size", ["9" * 5_000, "\xb2", "-1", "", "1e3"])
def test_size_that_is_no_number_is_refused(server, size):
    """Whatever a server says of its file."""
    server.says("/a.parquet", 206, {"Content-Range": f"bytes 0-0/{size}", "ETag": '"1"'}, b"1")

    assert "does not say its size" in refused(lambda: list(store(f"{server.url}/a.parquet?sig=canary").list()))


def test_more_than_was_requested_is_not_kept(server):
    """An answer without end ends here."""
    server.puts("/a.parquet", b"content")
    made = store(f"{server.url}/a.parquet")
    (file,) = made.list()
    more = {"ETag": '"1"', "Content-Range": "bytes 0-6/7", "Content-Length": str(1 << 40)}
    server.says("/a.parquet", 206, more, bytes(5 << 20))

    with made.open(file) as opened:
        said = refused(opened.read, TransientError)
    assert "came with 1048576 of 7 bytes" in said


def test_expired_link_is_reported(server):
    """As far as it says so itself."""
    server.says("/a.parquet", 403)

    said = refused(lambda: list(store(f"{server.url}/a.parquet?se=2020-01-01&sig=canary").list()))

    assert "its SAS expired at 2020-01-01 00:00:00 UTC" in said


def test_changed_blob_is_a_conflict(container, signed):
    """As for every other way to it."""
    container.upload_blob("a.parquet", b"content")
    made = store(signed("a.parquet"))
    (file,) = made.list()
    container.upload_blob("a.parquet", b"kontent", overwrite=True)

    with made.open(file) as opened, pytest.raises(ConflictError):
        opened.read()
