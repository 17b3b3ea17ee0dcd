"""SFTP as a store: OpenSSH's own server, keys of every kind, and hosts that are known, unknown or changed."""

from __future__ import annotations

import itertools
import os
import re
import socket
import stat
import subprocess
import threading

from pathlib import Path

import paramiko
import pytest

from shared import remote
from shared.errors import ConfigError, ConflictError, TransientError
from shared.settings import Settings
from shared.sources.exports.listing import FindOptions, find_exports
from shared.stores import expect, open_store
from tests.advice import advised, advises, follows
from tests.exports import START
from tests.servers import free_port
from tests.servers.sshd import KINDS, running_sshd
from tests.suites.store_suite import StoreSuite, content, everything_said, tail

_times = itertools.count(1_771_900_000)
"""Each file written is from a second of its own: SFTP tells no fractions of one."""


@pytest.fixture(scope="module")
def sshd():
    """OpenSSH's server for the tests of this module: leave it running, and use folders of your own."""
    with running_sshd() as server:
        yield server


@pytest.fixture
def root(sshd, tmp_path):
    root = sshd.root / tmp_path.name / "root #1"
    root.mkdir(parents=True)
    return root


@pytest.fixture
def settings(sshd, tmp_path):
    known = tmp_path / "known_hosts"
    known.write_text(sshd.known_hosts())
    return Settings(sftp_key_file=str(sshd.key_file()), sftp_known_hosts=str(known))


@pytest.fixture
def url(sshd, root):
    return f"sftp://{sshd.user}@127.0.0.1:{sshd.port}{_quoted(root)}"


def _quoted(path):
    return Path(path).as_uri().removeprefix("file://")


@pytest.fixture
def put(root):
    def put(name, content):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = root.parent / "new"
        new.write_bytes(content)
        os.utime(new, (0, next(_times)))
        new.replace(path)

    return put


@pytest.fixture
def remove(root):
    return lambda name: (root / name).unlink()


class TestSftpStore(StoreSuite):
    """Files of an OpenSSH server."""

    @pytest.fixture
    def store(self, url, settings):
        return open_store(url, settings)

    def test_names_are_urls_without_the_user(self, store, put, sshd, root):
        """The same for everybody who may read the file."""
        put("a b.parquet", b"1")

        (file,) = store.list()

        assert f"sftp://127.0.0.1:{sshd.port}{root}/a b.parquet" == file.name
        assert file.remote

    def test_all_ways_to_a_file_give_it_one_name(self, url, settings, put, root):
        """Folder, file, detour, link to the folder: the work is the same."""
        put("a.parquet", b"1")
        (root.parent / "link").symlink_to(root)
        parent = url.rpartition("/")[0]
        ways = [url, f"{url}/", f"{url}/a.parquet", f"{url}/../{url.rpartition('/')[2]}", f"{parent}/link"]

        assert 1 == len({next(iter(open_store(way, settings).list())) for way in ways})

    def test_file_behind_a_symlink_is_read(self, store, put, root):
        """With the size and time of what it leads to."""
        put("a.parquet", b"content")
        (root / "a.parquet").rename(root.parent / "elsewhere")
        (root / "link.parquet").symlink_to(root.parent / "elsewhere")

        (file,) = store.list()

        assert b"content" == content(store, file)

    def test_links_that_lead_nowhere_or_in_circles_are_no_files(self, store, put, root):
        """Nor is a link to a folder above followed."""
        put("a/b", b"1")
        (root / "broken").symlink_to(root / "nowhere")
        (root / "round").symlink_to(root / "round")
        (root / "a" / "up").symlink_to(root)

        assert ["b"] == [tail(file.name, 1) for file in store.list()]

    def test_folder_that_may_not_be_listed_is_named(self, store, put, root, sshd, url, settings):
        """An export that cannot be seen must not be passed over in silence."""
        put("a/b", b"1")
        (root / "closed").mkdir(mode=0o700)
        os.chown(root / "closed", 12345, -1) if os.getuid() == 0 else (root / "closed").chmod(0)

        with advised("Ask for the right to list and read it, or give a path further down") as advice:
            list(store.list())
        assert re.search(f"'?{sshd.user}'? may not read .*/closed", advice.error.problem)

        assert 1 == len(list(open_store(f"{url}/a", settings).list()))

    def test_hidden_folder_that_may_not_be_listed_is_passed_over(self, store, put, root):
        """It holds a home folder's keys, not exports."""
        put("a/b", b"1")
        (root / ".closed").mkdir(mode=0o700)
        os.chown(root / ".closed", 12345, -1) if os.getuid() == 0 else (root / ".closed").chmod(0)

        assert ["b"] == [tail(file.name, 1) for file in store.list()]

    def test_missing_path_is_refused(self, url, settings, put):
        """With its name."""
        put("Full/a", b"1")

        with advised("Correct the path; it is case-sensitive") as advice:
            list(open_store(f"{url}/full", settings).list())
        assert "/full does not exist" in advice.error.problem

        assert 1 == len(list(open_store(f"{url}/Full", settings).list()))

    def test_path_that_the_server_cannot_read_is_listed_by_another_program(self, put, url, settings):
        """A name that is longer than its file system takes; the server says no more than that it failed."""
        put("Full/a", b"1")

        with advised("List it with the program sftp, and correct the path"):
            list(open_store(f"{url}/{'x' * 300}", settings).list())

        assert 1 == len(list(open_store(f"{url}/Full", settings).list()))

    def test_file_that_shrank_has_changed(self, store, put):
        """Reading beyond its end is not a broken connection."""
        put("a", bytes(3_000_000))
        (file,) = store.list()
        put("a", b"1")

        with store.open(file) as opened:
            opened.seek(2_000_000)
            with pytest.raises(ConflictError):
                opened.read(10)

    def test_dropped_connection_is_opened_again(self, store, put, sshd):
        """In the middle of a file, with nothing lost."""
        data = os.urandom(3_000_000)
        put("a", data)
        (file,) = store.list()

        with store.open(file) as opened:
            first = opened.read(1_000_000)
            sshd.drop_connections()
            rest = opened.read()

        assert data == first + rest

    def test_large_ranges_are_read_whole(self, store, put):
        """Many small requests under way at once make up each of ours."""
        data = os.urandom(20_000_000)
        put("a", data)
        (file,) = store.list()

        with store.open(file) as opened:
            expect(opened, [(0, file.size)], 1)
            read = b"".join(iter(lambda: opened.read(256 << 10), b""))

        assert data == read

    def test_exports_are_found_in_any_folder(self, url, settings, put):
        """The operator's word says what they are."""
        put("coolr/prod/acme-464/20260224000000/location.parquet", b"PAR1")

        (offered,), _ = find_exports(open_store(url, settings), FindOptions(kind="full"), START)

        assert ("location", "full", "2026-02-24T00:00:00.000000") == (offered.table, offered.kind, offered.exported_at)


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_every_kind_sign_in(sshd, url, settings, put, kind):
    """Whichever the server's owner asked for."""
    put("a", b"1")

    store = open_store(url, _with(settings, sftp_key_file=str(sshd.key_file(kind))))

    assert 1 == len(list(store.list()))


def test_key_with_a_passphrase_is_unlocked(sshd, url, settings, put, tmp_path):
    """And refused without one, or with another, in words that do not repeat it."""
    put("a", b"1")
    locked = tmp_path / "locked"
    locked.write_bytes(sshd.key_file().read_bytes())
    locked.chmod(stat.S_IRUSR | stat.S_IWUSR)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "canary", "-f", locked], check=True, capture_output=True)
    locked_settings = _with(settings, sftp_key_file=str(locked))

    assert 1 == len(list(open_store(url, _with(locked_settings, sftp_key_passphrase="canary")).list()))
    advises("Set SFTP_KEY_PASSPHRASE", _refused(url, locked_settings))
    advises(
        "Use an ed25519, ecdsa or rsa key that is not encrypted, or set SFTP_KEY_PASSPHRASE",
        _refused(url, _with(locked_settings, sftp_key_passphrase="other canary")),
    )


def test_unknown_host_is_refused_with_the_line_to_add(sshd, url, settings, put, tmp_path):
    """Once its owner has confirmed the fingerprint, that line is all it takes."""
    put("a", b"1")
    empty = tmp_path / "none yet"
    unknown = _with(settings, sftp_known_hosts=str(empty))

    said = _refused(url, unknown)
    _, *line = advises("If its owner confirms {}, add this line: {} {} {}", said)
    empty.write_text(" ".join(line))

    assert sshd.known_hosts().strip() in said
    assert 1 == len(list(open_store(url, unknown).list()))


def test_changed_host_key_is_refused_loudly(sshd, url, settings, put, tmp_path):
    """Somebody may be listening in: nothing is sent, not even the user's name."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True)
    other = (tmp_path / "k.pub").read_text().split()[1]
    Path(settings.sftp_known_hosts).write_text(f"[127.0.0.1]:{sshd.port} ssh-ed25519 {other}\n")

    said = _refused(url, settings)

    assert f"THE HOST KEY OF 127.0.0.1:{sshd.port} HAS CHANGED" in said
    assert "somebody may intercept the connection" in said
    put("a", b"1")
    (file,) = advises("Nothing was sent. Ask its owner; only if the change was meant, replace its line in {}", said)
    Path(file).write_text(sshd.known_hosts())
    assert 1 == len(list(open_store(url, settings).list()))


def test_hashed_known_hosts_are_known(sshd, url, settings, put):
    """As Debian's ssh writes them."""
    put("a", b"1")
    subprocess.run(["ssh-keygen", "-H", "-f", settings.sftp_known_hosts], check=True, capture_output=True)
    assert "127.0.0.1" not in Path(settings.sftp_known_hosts).read_text()

    assert 1 == len(list(open_store(url, settings).list()))


def test_key_that_the_server_does_not_know_is_refused(url, settings, put, tmp_path):
    """At once, with what was tried."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True)

    said = _refused(url, _with(settings, sftp_key_file=str(tmp_path / "k")))

    assert "does not let" in said
    assert "in with SFTP_KEY_FILE" in said
    advises("Check the user, SFTP_KEY_FILE and SFTP_PASSWORD, and that the server has the public key", said)
    put("a", b"1")
    assert 1 == len(list(open_store(url, settings).list()))


@pytest.mark.parametrize(
    ("advice", "location", "said"),
    [
        follows("Write sftp://user@host[:port]/path", "sftp://127.0.0.1/x", "has no user or no host"),
        follows("Write sftp://user@host[:port]/path", "sftp:///x", "has no user or no host", id="no host"),
        follows("Write sftp://user@host[:port]/path", "sftp://me@host:port/x", "is no number", id="port"),
        follows("Write them as %3F and %23", "{url}?y", "has a ? or #"),
    ],
)
def test_urls_that_lack_something_are_refused(advice, location, said, url, settings, put):
    """Before anything is asked of a server. As advised, they are read."""
    error = _refused(location.format(url=url), Settings())
    assert said in error
    advises(advice, error)

    put("a?y", b"1")
    assert 1 == len(list(open_store(url if said != "has a ? or #" else f"{url}/a%3Fy", settings).list()))


def test_credentials_are_set(url, settings, put):
    put("a", b"1")

    advises("Set SFTP_KEY_FILE, or SFTP_PASSWORD", _refused(url, _with(settings, sftp_key_file=None)))

    assert 1 == len(list(open_store(url, settings).list()))


def test_known_hosts_that_cannot_be_read_are_named(sshd, url, settings, put, tmp_path):
    put("a", b"1")
    folder = _with(settings, sftp_known_hosts=str(tmp_path))

    advises("Correct SFTP_KNOWN_HOSTS, or its rights", _refused(url, folder))

    assert 1 == len(list(open_store(url, settings).list()))


@pytest.mark.parametrize("content", ["", "no key\n", "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary\n-----END\n"])
def test_file_that_is_no_key_is_refused_without_repeating_it(tmp_path, content):
    """It may be half a key."""
    (tmp_path / "key").write_text(content)

    assert "cannot be read" in _refused("sftp://me@127.0.0.1/x", Settings(sftp_key_file=str(tmp_path / "key")))


def test_missing_key_file_is_named(url, settings, put, tmp_path):
    """With what the system says of it."""
    put("a", b"1")
    said = _refused(url, _with(settings, sftp_key_file=str(tmp_path / "nokey")))

    advises("Correct its path or rights", said)
    assert 1 == len(list(open_store(url, settings).list()))

    assert "nokey cannot be read: No such file or directory" in said


def test_server_that_is_away_may_come_back(tmp_path):
    """No setting is to blame."""
    store = open_store(f"sftp://me@127.0.0.1:{free_port()}/x", Settings(sftp_password="canary"))

    with pytest.raises(TransientError, match="refuses connections") as caught:
        list(store.list())
    assert "canary" not in str(caught.value)


def test_server_that_says_nothing_is_not_waited_for(monkeypatch):
    """Every wait has an end."""
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = open_store(f"sftp://me@127.0.0.1:{port}/x", Settings(sftp_password="canary"))

        with pytest.raises(TransientError, match=f"127.0.0.1:{port}"):
            list(store.list())


# -- passwords: OpenSSH checks them as root alone, with the machine's own accounts


class _Checks(paramiko.ServerInterface):
    def __init__(self, password):
        self._password = password

    def check_auth_password(self, username, password):
        good = (username, password) == ("me", self._password)
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username):
        return "password"

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED


class _Serves(paramiko.SFTPServerInterface):
    """One folder with one file."""

    def canonicalize(self, path):
        return "/x"

    def stat(self, path):
        return _attributes("x", stat.S_IFDIR | 0o755)

    def list_folder(self, path):
        return [_attributes("a", stat.S_IFREG | 0o644)]


def _attributes(name, mode):
    found = paramiko.SFTPAttributes()
    found.filename, found.st_mode, found.st_size, found.st_mtime = name, mode, 1, 1_771_900_000
    return found


@pytest.fixture
def password_server(tmp_path):
    """paramiko's server: its address for a URL, and the file of known hosts that knows it."""
    key = paramiko.ECDSAKey.generate()
    transports = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        known = tmp_path / "known"
        known.write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                transport = paramiko.Transport(connection)
                transports.append(transport)
                transport.add_server_key(key)
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Serves)
                transport.start_server(server=_Checks("p@ss:w/rd"), event=threading.Event())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{port}", str(known)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for transport in transports:
        transport.close()


def test_password_signs_in_to_a_server_of_paramiko(password_server):
    """From the URL, percent-encoded there, or from the setting."""
    address, known = password_server
    in_url = open_store(f"sftp://me:p%40ss%3Aw%2Frd@{address}/x", Settings(sftp_known_hosts=known))
    in_setting = open_store(f"sftp://me@{address}/x", Settings(sftp_known_hosts=known, sftp_password="p@ss:w/rd"))

    assert [f"sftp://{address}/x/a"] == [file.name for file in in_url.list()]
    assert list(in_url.list()) == list(in_setting.list())


def test_wrong_password_is_refused_by_a_server_of_paramiko(password_server):
    """At once, and without repeating it."""
    address, known = password_server

    said = _refused(f"sftp://me:canary@{address}/x", Settings(sftp_known_hosts=known))

    assert f"{address} does not let 'me' in with the password" in said


def _with(settings, **changed):
    from dataclasses import replace

    return replace(settings, **changed)


def _refused(url, settings):
    with pytest.raises(ConfigError) as caught:
        list(open_store(url, settings).list())
    assert "canary" not in everything_said(caught.value)
    return str(caught.value)
