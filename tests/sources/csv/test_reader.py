"""Records that fit become rows, the others are rejected alone, and none is lost."""

from __future__ import annotations

import pytest

HEADER = "id,name,city,amount,note\n"
ROWS = "".join(f"{number},Ada,Boston,{number}.50,fine\n" for number in range(1, 21))


def test_rows_are_text_in_the_order_of_the_file(read_csv):
    """Nothing is converted: what a value means is for the contract to say."""
    found = read_csv("id,name,born\n007,Ada,1815-12-10\n8, Bob ,\n")

    assert ("id", "name", "born") == found.names
    assert [("007", "Ada", "1815-12-10"), ("8", " Bob ", "")] == found.rows
    assert [] == found.bad


@pytest.mark.parametrize("record", ["21,Ada,Boston,1.50", "21,Ada,Boston,1.50,fine,more", "Boston"])
def test_record_that_does_not_fit_is_rejected_with_its_place(read_csv, record):
    """Its line, its byte offset and its text are known, and the next record is read."""
    found = read_csv(f"{HEADER}{ROWS}{record}\n{ROWS}")

    assert 40 == len(found.rows)
    (bad,) = found.bad
    assert (22, len(HEADER + ROWS), record) == (bad.line, bad.offset, bad.raw)
    assert bad.code == ("too_many_fields" if record.endswith("more") else "too_few_fields")


@pytest.mark.parametrize("before", [0, 10, 20])
@pytest.mark.parametrize("record", ['21,"Ada,Boston,1.50,fine', '21,Ada,Boston,1.50,"fine', '"21,Ada,Boston,1.50,fine'])
def test_quote_never_closed_costs_one_record(read_csv, record, before):
    """At the first line, in the middle, at the last."""
    lines = ROWS.splitlines(keepends=True)
    found = read_csv(HEADER + "".join(lines[:before]) + record + "\n" + "".join(lines[before:]))

    assert 20 == len(found.rows)
    assert [("bad_quotes", before + 2)] == found.codes
    assert record == found.bad[0].raw


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ('0,Ada,Boston,1.50,"fine', '21,"Bob",Salem,2.50,fine'),  # malformed at the next quote
        ('0,Ada,Boston,1.50,"fine', '21,Bob,Salem,2.50,fine"'),  # as wide as the header
        ('0,Ada,"Boston,1.50,fine', '21",Bob,Salem,2.50,fine'),  # wider
        ('0,Ada,"Boston,1.50,fine', '21",Bob,Salem'),  # not as wide, in a line that is no record
        ('0,"Ada,Boston,1.50,fine', '21,Bob,Salem,2.50,fine"'),  # narrower
    ],
)
def test_quote_that_closes_by_chance_costs_one_record(read_csv, opened, closed):
    """A quote in a later record closes it; but the lines between are records of their own."""
    found = read_csv(f"{HEADER}{opened}\n{ROWS}{closed}\n{ROWS}")

    assert ("bad_quotes", 2) == found.codes[0]
    assert opened == found.bad[0].raw
    assert len(found.codes) == 1 or ("bad_quotes", 23) == found.codes[1]
    assert 42 == len(found.rows) + len(found.bad)


def test_malformed_record_of_several_lines_is_one_reject(read_csv):
    """It ends where the next record begins."""
    record = '21,Ada,"two\nlines, or ""three""","Bos"ton,fine'
    found = read_csv(f"{HEADER}{ROWS}{record}\n{ROWS}")

    assert [record] == [one.raw for one in found.bad]
    assert 40 == len(found.rows)


def test_quote_that_closes_in_the_middle_of_a_field_is_rejected(read_csv):
    """A reader that drops it would change the value."""
    found = read_csv(f'{HEADER}{ROWS}21,"Ad"a,Boston,1.50,fine\n{ROWS}')

    assert [("bad_quotes", 22)] == found.codes
    assert 40 == len(found.rows)


def test_quote_in_the_middle_of_a_field_is_not_guessed_at(read_csv):
    """A delimiter is missing before a quoted field, whose own ones make the record as wide as the header by chance."""
    found = read_csv(HEADER + ROWS + '21,"Ada","Boston",1.50,"fine, very"\n' + '22,Ada,Boston"fine, very"\n' + ROWS)

    assert [("bad_quotes", 23)] == found.codes
    assert 41 == len(found.rows)


def test_line_in_another_encoding_is_rejected(read_csv):
    """Never loaded as something that it does not say; the bytes can be seen in its text."""
    lines = [f"{number},José,Boston,1.50,fine\n".encode() for number in range(20)]
    found = read_csv(HEADER.encode() + b"".join([*lines, "20,Zoë,Boston,1.50,fine\n".encode("cp1252"), *lines]))

    assert 40 == len(found.rows)
    assert [("bad_encoding", 22)] == found.codes
    assert r"20,Zo\xeb,Boston,1.50,fine" == found.bad[0].raw


def test_bytes_that_an_encoding_does_not_have_are_rejected(read_csv):
    """Windows-1252 leaves five of them undefined."""
    content = HEADER.encode() + b"1,Jos\xe9,Boston,1,fine\n2,A\x81da,Boston,1,fine\n3,Bob,Boston,1,x\n"
    found = read_csv(content, encoding="cp1252")

    assert ["José", "Bob"] == [row[1] for row in found.rows]
    assert [("bad_encoding", 3)] == found.codes
    assert content.index(b"2,A") == found.bad[0].offset


def test_place_of_a_record_counts_bytes_of_the_file(read_csv):
    """Whatever they are as UTF-8: two for each character here, after two of the mark."""
    content = "id,name\n1,日本\n2\n3,é\n"
    found = read_csv(b"\xff\xfe" + content.encode("utf-16-le"))

    assert [("1", "日本"), ("3", "é")] == found.rows
    assert [2 + 2 * content.index("2\n")] == [one.offset for one in found.bad]


def test_file_cut_off_within_a_character_loses_its_last_record_alone(read_csv):
    """As an interrupted upload leaves it."""
    found = read_csv(b"\xff\xfe" + "id,name\n1,Ada\n2,Bob".encode("utf-16-le")[:-1])

    assert [("1", "Ada")] == found.rows
    assert [("bad_encoding", 3)] == found.codes


def test_zero_bytes_are_part_of_a_value(read_csv):
    """The contract says which columns may have them."""
    found = read_csv(HEADER + ROWS + "21,A\0da,Boston,1.50,fine\n")

    assert "A\0da" == found.rows[-1][1]


def test_field_of_ten_megabytes_is_a_value(read_csv):
    """With delimiters and line breaks in it."""
    long = "long, with\nlines " * 620_000
    found = read_csv(f'{HEADER}1,Ada,Boston,1.50,fine\n2,Bob,Boston,1.50,"{long}"\n{ROWS}')

    assert 22 == len(found.rows)
    assert long == found.rows[1][4]


@pytest.mark.slow
@pytest.mark.parametrize("field", ['"', ""])
def test_line_without_an_end_in_sight_is_rejected(read_csv, field):
    """Its text is cut; memory is not filled with it, and what follows is read."""
    found = read_csv(f"{HEADER}1,{field}{'x' * 40_000_000}\n{ROWS}")

    assert 20 == len(found.rows)
    (bad,) = found.bad
    assert (2, len(HEADER)) == (bad.line, bad.offset)
    assert len(bad.raw) < 1_100_000
    assert "cut after 1 MB" in bad.raw


def test_five_thousand_columns_are_read(read_csv):
    """Each with its name."""
    header = ",".join(f"c{number}" for number in range(5000))
    row = ",".join(str(number) for number in range(5000))
    found = read_csv(f"{header}\n{row}\n{row}\n{row},1\n")

    assert (5000, "c4999") == (len(found.names), found.names[-1])
    assert [tuple(row.split(","))] * 2 == found.rows
    assert [("too_many_fields", 4)] == found.codes


def test_what_holds_no_record_is_counted(read_csv):
    """Blank lines, rows of delimiters alone and repeated header rows are neither rows nor rejects."""
    found = read_csv(f"{HEADER}{ROWS}\n   \n,,,,\n , ,,,\n{HEADER}{ROWS}\n\n")

    assert 40 == len(found.rows)
    assert [] == found.bad
    assert {"blank lines": 4, "blank rows": 2, "repeated header rows": 1} == dict(found.skipped)


def test_value_with_blank_lines_is_kept(read_csv):
    """They are part of the text, and its record is one."""
    found = read_csv(f'{HEADER}1,Ada,Boston,1.50,"Dear Ada,\n\n\nyours, Bob\n"\n2,Bob\n{ROWS}')

    assert "Dear Ada,\n\n\nyours, Bob\n" == found.rows[0][4]
    assert [("too_few_fields", 7)] == found.codes
    assert 0 == found.skipped["blank lines"]


def test_last_row_of_totals_is_rejected(read_csv):
    """It would be loaded as a record otherwise."""
    found = read_csv(f"{HEADER}{ROWS}Grand Total:,,,$210.00,\n")

    assert [("total_row", 22)] == found.codes


def test_row_about_a_total_is_a_record(read_csv):
    """Only amounts beside that word make it one."""
    found = read_csv(f"{HEADER}{ROWS}Total,Ada,Boston,1.50,fine\nTotal Wine,,,3.00,\n")

    assert 22 == len(found.rows)


def test_batches_have_the_rows_requested(read_csv):
    """The last may be smaller."""
    found = read_csv(HEADER + ROWS * 5, batch_rows=30)

    assert [30, 30, 30, 10] == found.batches


def test_quotes_in_unquoted_fields_are_text_if_the_file_is_written_so(read_csv):
    """Where nothing is quoted they need no escape; a note says it."""
    found = read_csv('id,size,city\n1,5" pipe,Boston\n2,10" pipe,Boise\n')

    assert [("1", '5" pipe', "Boston"), ("2", '10" pipe', "Boise")] == found.rows
    assert "Quotes within fields that are not quoted are text" in found.notes


def test_header_that_lacks_a_name_is_not_guessed_at(read_csv):
    """Which column has no name cannot be known, so every record is rejected, and a note says why."""
    found = read_csv("id,name,city\n1,Ada,Boston,2.50\n2,Bob,Boise,3.50\n")

    assert [] == found.rows
    assert [("too_many_fields", 2), ("too_many_fields", 3)] == found.codes
    assert "The header row has 3 names, but most records have 4 fields" in found.notes


@pytest.mark.parametrize("without", ["", "3,Eve\n"])
def test_empty_field_after_the_last_delimiter_is_left_out(read_csv, without):
    """If records have it and the header has no name for it; one that is not empty is a field too many."""
    found = read_csv("id,name\n" + "1,Ada,\n" * 20 + without + "4,Dan,x\n")

    assert [("1", "Ada")] * 20 + [("3", "Eve")] * bool(without) == found.rows
    assert ["4,Dan,x"] == [one.raw for one in found.bad]
    assert "too_many_fields" == found.bad[0].code
