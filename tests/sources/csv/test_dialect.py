"""How a file is written is found out from its beginning, and told in notes."""

from __future__ import annotations

import io
import json

from dataclasses import asdict

import pytest

from shared.errors import ConfigError, DataError
from shared.model import from_json
from shared.sources.csv.dialect import Dialect, Given, detect

ROWS = "1,Ada,Boston\n2,Bob,Boise\n3,Eve,Salem\n"


def _detect(content, known=(), **given):
    text = content.encode() if isinstance(content, str) else content
    return detect(io.BytesIO(text), Given(**given), known=known)


def test_dialect_travels_through_json():
    """It is found once, and used where the file is read."""
    dialect = _detect(f"id,name,city\n{ROWS}")

    assert dialect == from_json(Dialect, json.loads(json.dumps(asdict(dialect))))


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        ("a;b;c\n1,5;2,5;x\n1,7;2,7;y\n", ";"),
        ("a;b\n1,5;2,5\n1,7;2,7\n", ";"),
        ("1,5;2,5\n1,7;2,7\n", ";"),
        ("name,tags,n\nAda,x;y;z,1\nBob,x;y;z,2\n", ","),
        ("name|note\nAda|one, two, three\nBob|one, two\n", "|"),
        ("name\tnote\nAda\tone, two; three\nBob\tone, two; three\n", "\t"),
        ("a^b^c\n1^2^3\n4^5^6\n", "^"),
        ("full name\nAda Lovelace\nBob Ross\n", ","),
        ("when\n2025-01-01 10:00\n2025-01-02 11:00\n", ","),
    ],
)
def test_delimiter_is_the_one_that_makes_records_equally_wide(content, delimiter):
    """Those within values do not count, and a file of one column has none."""
    assert delimiter == _detect(content).delimiter


def test_what_is_given_is_not_questioned():
    """Even where something else would fit better."""
    dialect = _detect("a;b,c\n1;2,3\n", delimiter=",", quote="", encoding="latin-1", header=False, names=("x", "y"))

    assert (",", None, "iso8859-1", ("x", "y")) == (
        dialect.delimiter,
        dialect.quote,
        dialect.encoding,
        dialect.names,
    )
    assert () == dialect.header


@pytest.mark.parametrize(
    "given", [{"encoding": "klingon"}, {"encoding": "base64"}, {"delimiter": ""}, {"delimiter": "\n"}, {"quote": "''"}]
)
def test_what_cannot_be_given_is_refused(given):
    """With what can be."""
    with pytest.raises(ConfigError):
        _detect("a,b\n1,2\n", **given)


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16-le"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("cp1252", "cp1252"),
    ],
)
def test_encoding_is_found(encoding, found):
    """By its mark, by what only it can be, or as the one that such files mostly have."""
    content = "id,name\n" + "1,José Ibáñez\n2,Zoë €\n" * 20

    assert found == _detect(content.encode(encoding)).encoding


def test_mark_is_believed_more_than_what_is_given():
    """It is no text in any other encoding."""
    assert "utf-8" == _detect("id,name\n1,é\n".encode("utf-8-sig"), encoding="cp1252").encoding


def test_cyrillic_file_is_not_taken_for_western():
    """Most of its letters would be accents."""
    content = "имя,город\n" + "Юлия Жукова,Уфа\nИлья Быков,Пермь\n" * 20

    assert "Илья Быков" in content.encode("cp1251").decode(_detect(content.encode("cp1251")).encoding)


def test_first_accent_far_down_decides_the_encoding():
    """Beyond the sample that shows all else."""
    content = b"id,name,city\n" + ROWS.encode() * 60_000 + "4,Jos\xe9,Boston\n".encode("cp1252")

    assert len(content) > 2**20
    assert "cp1252" == _detect(content).encoding


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x1f\x8brest", "gzip"),
        (b"PAR1rest", "Parquet"),
        (b"%PDF-1.7", "PDF"),
        (b"\xd0\xcf\x11\xe0rest", "before 2007"),
        (bytes(range(256)) * 8, "not text"),
    ],
)
def test_what_is_no_text_is_refused(content, kind):
    """By what it begins with."""
    with pytest.raises(DataError, match=kind):
        _detect(content)


@pytest.mark.parametrize("content", [b"", b"\n\n \r\n", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_file_without_text_has_no_columns(content):
    """A note says that it is empty."""
    dialect = _detect(content)

    assert ((), ()) == (dialect.names, dialect.header)
    assert "The file is empty." in dialect.notes


@pytest.mark.parametrize("content", [b'"' * 2_000_000, b"," * 2_000_000, b"x" * 2_000_000])
def test_file_whose_first_record_has_no_end_is_refused(content):
    """It would have to be read into memory to its end."""
    with pytest.raises(DataError, match="the first record does not end within 1,048,576 bytes"):
        _detect(content)


def test_names_are_unique_and_never_empty():
    """Whatever their case: databases do not tell them apart."""
    dialect = _detect("id, Name ,,NAME,name_2,first\tname\n1,a,b,c,d,e\n2,a,b,c,d,e\n")

    assert ("id", "Name", "column_3", "NAME_3", "name_2", "first name") == dialect.names
    assert "Columns without a name: 3." in dialect.notes


def test_tables_side_by_side_are_noted():
    """They are one table of the file, which has an empty column and the same names twice."""
    dialect = _detect("id,name,,id,name\n1,Ada,,7,Dan\n2,Bob,,8,Eve\n")

    assert ("id", "name", "column_3", "id_2", "name_2") == dialect.names
    assert "Two tables may stand side by side." in dialect.notes


@pytest.mark.parametrize(
    ("content", "header"),
    [
        ("id,name,city\n" + ROWS, True),
        ("name,city\nAda,Boston\nBob,Boise\n", True),
        ("first,2024,2025\nAda,x,y\n", True),
        (ROWS, False),
        ("Ada,Boston\nBob,Boston\nEve,Salem\n", False),
        ("2025-01-01,a@b.com\n2025-01-02,c@d.com\n", False),
        ("7,8\n", False),
    ],
)
def test_header_is_distinguished_from_data(content, header):
    """A name does not look like the values below it, and does not stand among them."""
    assert header == bool(_detect(content).header)


def test_row_with_known_names_is_the_header():
    """However the rows above it look."""
    content = "Report,of,all\nfor,our,friends\nLead Id,E-Mail,Note\nx,y,z\n"

    assert ("Lead Id", "E-Mail", "Note") == _detect(content, known={"leadid", "email"}).header


def test_rows_above_the_header_are_noted():
    """With the first of them."""
    dialect = _detect(f"Customers of Boston\n\nMade on 1 March\n\nid,name,city\n{ROWS}")

    assert ("id", "name", "city") == dialect.names
    assert 6 == dialect.data_line
    assert "2 rows above it are skipped; the first is 'Customers of Boston'." in dialect.notes


def test_row_of_units_below_the_header_is_noted():
    """It is no record."""
    dialect = _detect("id,width,price\nnumber,inches,dollars\n1,24,3.50\n2,36,4.50\n3,48,5.50\n")

    assert 3 == dialect.data_line
    assert "Line 2 looks like a second header row and is skipped: 'number,inches,dollars'." in dialect.notes


def test_malformed_header_is_still_the_header():
    """A quote too many in it is not part of a name."""
    dialect = _detect('id,"name,city\n1,"a, b",c\n2,"d, e",f\n')

    assert ("id", "name", "city") == dialect.names


def test_delimiter_too_many_in_the_header_is_noted():
    """The empty name is left out if the others are as many as the fields of the records."""
    dialect = _detect(f"id,name,,city\n{ROWS}")

    assert ("id", "name", "city") == dialect.names
    assert "delimiter too many" in " ".join(dialect.notes)


def test_only_the_beginning_is_read():
    """Of a file of any size; a sample of 32 MB shows the encoding of one that is all ASCII."""
    opened = io.BytesIO(b"id,name,city\n" + ROWS.encode() * 1_000_000)
    detect(opened)

    assert opened.tell() == 32 * 2**20
