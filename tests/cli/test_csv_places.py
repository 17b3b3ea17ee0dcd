"""``sluice csv`` of files in Blob Storage and on an SFTP server: Azurite's and OpenSSH's own."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import os
import zipfile

import pytest

from azure.storage.blob import generate_blob_sas, generate_container_sas

from tests.pipeline.sheets import workbook
from tests.servers.sshd import running_sshd

CATALOG = """
[system]
name = "crm"
source = "csv"

[tables.leads]
keys = ["id"]
cursor = false

[tables.leads.columns]
id = {}
phone = { cleaner = "phone" }
born = { type = "date", cleaner = "date" }
"""
ROWS = [["id", "phone", "born"], ["a", "(617) 555-0143", "25/12/1980"], ["b", "none", "03/04/1980"]]
TEXT = "".join(f"{','.join(row)}\n" for row in ROWS).encode()
LONG = b"id,phone,born\n" + b"".join(b"%d,+1617555%04d,1980-12-25\n" % (n, n % 10_000) for n in range(150_000))
"""Longer than what is looked at, and than one request brings."""


class Blobs:
    """A container, reached by a connection string."""

    def __init__(self, container, azurite):
        self._container = container
        self.url = container.url
        self.env = {"STORAGE_CONNECTION_STRING": azurite.connection_string}

    def put(self, name, content):
        self._container.upload_blob(name, content, overwrite=True)

    def of(self, name):
        return f"{self.url}/{name}"


class Links(Blobs):
    """A container, reached by links with a SAS."""

    def __init__(self, container, azurite):
        super().__init__(container, azurite)
        self.env = {"STORAGE_CONNECTION_STRING": ""}
        end = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        account = {"account_name": azurite.account, "account_key": azurite.key, "expiry": end}
        self._blob = lambda name: generate_blob_sas(
            container_name=container.container_name, blob_name=name, permission="r", **account
        )
        folder = generate_container_sas(container_name=container.container_name, permission="rl", **account)
        self.url = f"{container.url}?{folder}"

    def of(self, name):
        return f"{self._container.url}/{name}?{self._blob(name)}"


class Sftp:
    """A folder of an SFTP server."""

    def __init__(self, sshd, folder):
        self._root = sshd.root / folder.name
        self._root.mkdir()
        known = folder / "known_hosts"
        known.write_text(sshd.known_hosts())
        self.url = f"{sshd.url}/{folder.name}"
        self.env = {"SFTP_KEY_FILE": str(sshd.key_file()), "SFTP_KNOWN_HOSTS": str(known)}
        self._written = 1_771_900_000

    def put(self, name, content):
        self._written += 1  # SFTP tells no fractions of a second
        (self._root / name).write_bytes(content)
        os.utime(self._root / name, (self._written, self._written))

    def of(self, name):
        return f"{self.url}/{name}"


@pytest.fixture(scope="module")
def sshd():
    with running_sshd() as server:
        yield server


@pytest.fixture(params=["blob", "link", "sftp"])
def place(request, tmp_path):
    if request.param == "sftp":
        return Sftp(request.getfixturevalue("sshd"), tmp_path)
    kind = {"blob": Blobs, "link": Links}[request.param]
    return kind(request.getfixturevalue("container"), request.getfixturevalue("azurite"))


@pytest.fixture
def csv(place, tmp_path, sluice):
    """Run the command over a location; what it printed, as JSON."""
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "crm.toml").write_text(CATALOG)

    def run(location, *words):
        env = {"CATALOG_PATH": str(tmp_path / "catalog"), **place.env}
        result = sluice("csv", "crm", "leads", location, *words, "--json", **env)
        assert 0 == result.exit_code, result.output
        assert "sig=" not in result.output
        return json.loads(result.stdout)

    return run


@pytest.fixture
def stored(sluice):
    """How many rows were read and became what, by run."""
    return lambda: [
        (run["read"], run["inserted"], run["unchanged"]) for run in json.loads(sluice("history", "--json").stdout)
    ]


def packed(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(f"{name}.csv", text)
    return content.getvalue()


def test_a_file_is_previewed_loaded_and_then_known(place, csv, stored):
    """By its place and version, whatever the link is."""
    place.put("leads.csv", TEXT)

    (preview,) = csv(place.of("leads.csv"), "--dry-run")
    (loaded,) = csv(place.of("leads.csv"))
    (again,) = csv(place.of("leads.csv"))

    assert "day first" in " ".join(preview["preview"]["notes"])
    assert (2, 1) == (loaded["run"]["inserted"], loaded["run"]["values_rejected"])
    assert again["run"] is None
    assert [(2, 2, 0)] == stored()


def test_the_time_of_the_export_is_the_stores(place, csv):
    place.put("leads.csv", TEXT)

    (result,) = csv(place.of("leads.csv"))

    assert result["run"]["exported_at"] is not None


def test_new_content_is_new_work(place, csv, stored):
    place.put("leads.csv", TEXT)
    csv(place.of("leads.csv"))
    place.put("leads.csv", TEXT + b"c,,\n")

    csv(place.of("leads.csv"))

    assert [(2, 2, 0), (3, 1, 2)] == sorted(stored())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("leads.csv.gz", gzip.compress(TEXT)),
        ("leads.zip", packed(leads=TEXT)),
        ("leads.csv", TEXT.decode().encode("utf-16")),
        ("export", TEXT),
    ],
    ids=["gzip", "zip", "UTF-16", "no ending"],
)
def test_files_of_every_kind_are_read(place, csv, name, content):
    place.put(name, content)

    (result,) = csv(place.of(name))

    assert (2, 1) == (result["run"]["inserted"], result["run"]["values_rejected"])


def test_a_workbook_is_read(place, csv, tmp_path):
    place.put("leads.xlsx", workbook(tmp_path / "leads.xlsx", ROWS).read_bytes())

    (result,) = csv(place.of("leads.xlsx"))

    assert (2, 1) == (result["run"]["inserted"], result["run"]["values_rejected"])


def test_a_long_file_is_read_to_its_end(place, csv):
    place.put("leads.csv", LONG)

    (result,) = csv(place.of("leads.csv"))

    assert (150_000, 0) == (result["run"]["inserted"], result["run"]["rejected"])


def test_a_folder_is_loaded_file_by_file(place, csv, tmp_path):
    """Those that are text files, and the members of archives."""
    place.put("a.csv", b"id\n1\n")
    place.put("b.zip", packed(one=b"id\n2\n", two=b"id\n3\n"))
    place.put("c.xlsx", workbook(tmp_path / "c.xlsx", [["id"], [4]]).read_bytes())
    place.put("readme.pdf", b"%PDF")

    results = csv(place.url)

    assert ["a.csv", "b.zip/one.csv", "b.zip/two.csv", "c.xlsx"] == [
        one["place"].partition(f"{_last(place)}/")[2] for one in results
    ]
    assert [1, 1, 1, 1] == [one["run"]["inserted"] for one in results]


def test_a_layout_is_proposed(place, csv, sluice):
    place.put("leads.csv", TEXT)

    result = sluice("csv", "infer", place.of("leads.csv"), **place.env)

    assert 0 == result.exit_code, result.output
    assert "[tables.leads]" in result.stdout


def _last(place):
    return place.url.partition("?")[0].rpartition("/")[2]
