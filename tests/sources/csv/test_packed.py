"""Archives: what is in them is read as it streams, and what cannot be is refused before it fills memory or disk."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile

import pytest

from shared.errors import DataError
from shared.sources.csv.packed import members, unpacked

TEXT = b"id,name\n" + b"".join(b"%d,Ada Lovelace %d\n" % (number, number * 7919) for number in range(5000))


def test_file_that_is_not_packed_is_given_as_it_is():
    """Its stream can be read anywhere, as spreadsheets are."""
    opened = io.BytesIO(TEXT)

    with unpacked(opened, "a.csv", None) as content:
        assert content is opened
        assert TEXT == content.read()


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv"])
def test_gzip_is_known_by_its_first_bytes(name):
    """Whatever its name is; of several parts, one after the other, all are read."""
    with unpacked(io.BytesIO(gzip.compress(TEXT) + gzip.compress(b"end\n")), name, None) as content:
        assert TEXT + b"end\n" == _all(content)


def test_stream_that_cannot_seek_is_known_by_its_name():
    """Standard input may be such a one."""

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    with unpacked(Pipe(gzip.compress(TEXT)), "-.csv.gz", None) as content:
        assert TEXT == _all(content)


def test_members_are_the_text_files_in_order():
    """Of folders and of what other programs add, none."""
    packed = _zip({"b.csv": TEXT, "a/z.tsv": b"x\n", "__MACOSX/b.csv": b"", "a/.hidden.csv": b"", "readme.pdf": b""})

    assert ["a/z.tsv", "b.csv"] == members(packed, "all.zip")
    with unpacked(packed, "all.zip", "b.csv") as content:
        assert TEXT == _all(content)


def test_gzip_within_an_archive_is_unpacked_too():
    """One level down."""
    with unpacked(_zip({"b.csv.gz": gzip.compress(TEXT)}), "all.zip", "b.csv.gz") as content:
        assert TEXT == _all(content)


def test_position_is_that_in_the_packed_file():
    """So progress has an end that is known."""
    packed = gzip.compress(TEXT)
    with unpacked(io.BytesIO(packed), "a.csv.gz", None) as content:
        _all(content)

        assert len(packed) == content.tell()


def test_path_that_climbs_out_is_only_a_name(tmp_path, monkeypatch):
    """Nothing is written."""
    monkeypatch.chdir(tmp_path)
    packed = _zip({"../../climbed.csv": TEXT, "/etc/passwd.csv": TEXT})

    assert ["../../climbed.csv", "/etc/passwd.csv"] == members(packed, "all.zip")
    with unpacked(packed, "all.zip", "../../climbed.csv") as content:
        assert TEXT == _all(content)
    assert [] == list(tmp_path.rglob("*"))
    assert not (tmp_path.parents[1] / "climbed.csv").exists()


@pytest.mark.parametrize("level", [1, 9])
def test_gzip_bomb_is_refused_while_it_streams(level):
    """Long before it is unpacked to its end."""
    bomb = gzip.compress(bytes(90_000_000), level)
    taken = []

    with (
        unpacked(io.BytesIO(bomb), "a.csv.gz", None) as content,
        pytest.raises(
            DataError, match=r"a.csv.gz would unpack to 6\d,\d{3},\d{3} bytes or more, over 100 times its size"
        ),
    ):
        taken.extend(iter(lambda: len(content.read(2**20)), 0))

    assert sum(taken) <= 64 * 2**20


def test_zip_bomb_is_refused_by_what_its_directory_says():
    """Nothing of it is unpacked."""
    packed = _zip({"a.csv": bytes(90_000_000)})

    with pytest.raises(DataError, match=r"all.zip/a.csv would unpack to 90,000,000 bytes"):
        members(packed, "all.zip")
    with pytest.raises(DataError, match="would unpack"), unpacked(packed, "all.zip", "a.csv"):
        pass


def test_zip_bomb_whose_directory_lies_unpacks_to_what_it_says():
    """A size that is too small is where reading ends."""
    packed = bytearray(_zip({"a.csv": bytes(70_000_000)}).getvalue())
    packed.reverse()
    packed = packed.replace(struct.pack("<L", 70_000_000)[::-1], struct.pack("<L", 1000)[::-1])
    packed.reverse()

    with (
        pytest.raises(DataError, match="is damaged: Bad CRC"),
        unpacked(io.BytesIO(bytes(packed)), "all.zip", "a.csv") as content,
    ):
        _all(content)


def test_encrypted_archive_is_refused():
    """With what to do."""
    packed = bytearray(_zip({"a.csv": TEXT}).getvalue())
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1

    with pytest.raises(DataError, match=r"all.zip/a.csv is encrypted. Pack it without a password"):
        members(io.BytesIO(bytes(packed)), "all.zip")


def test_archive_without_text_is_refused():
    """With the endings that are looked for."""
    with pytest.raises(DataError, match=r"all.zip has no text file among its 1 files. Pack files that end in .*\.csv"):
        members(_zip({"a.pdf": b""}), "all.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused():
    """Which of them is meant cannot be said."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", "id\n1\n")
        archive.writestr("a.csv", "id\n2\n")

    with pytest.raises(DataError, match=r"two files called a.csv"):
        members(packed, "all.zip")


@pytest.mark.parametrize("cut", [20, 5000])
def test_damaged_gzip_is_refused_when_that_shows(cut):
    """As an interrupted upload leaves it."""
    with (
        unpacked(io.BytesIO(gzip.compress(TEXT)[:-cut]), "a.csv.gz", None) as content,
        pytest.raises(DataError, match=r"a.csv.gz is damaged"),
    ):
        _all(content)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"id,name\n"])
def test_what_is_no_archive_is_refused(content):
    """Whatever its name says."""
    with pytest.raises(DataError, match=r"all.zip is damaged"):
        members(io.BytesIO(content), "all.zip")


def test_member_that_is_gone_is_refused():
    """The archive was listed before."""
    with pytest.raises(DataError, match=r"all.zip has no file 'b.csv'"), unpacked(_zip({}), "all.zip", "b.csv"):
        pass


def _zip(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed


def _all(content):
    return b"".join(iter(lambda: content.read(100_000), b""))
