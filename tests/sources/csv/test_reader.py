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


def test_quote_that_closes_by_chance_costs_one_record(read_csv):
    """The quote of a later record would close it; but the lines between are records of their own."""
    found = read_csv(HEADER + '0,Ada,Boston,1.50,"fine\n' + ROWS + '21,Bob,"New York",2.50,fine\n' + ROWS)

    assert [("bad_quotes", 2)] == found.codes
    assert 41 == len(found.rows)


def test_quote_in_the_middle_of_a_field_is_not_guessed_at(read_csv):
    """A delimiter is missing before a quoted field, whose own ones make the record as wide as the header by chance."""
    found = read_csv(HEADER + ROWS + '21,"Ada","Boston",1.50,"fine, very"\n' + '22,Ada,Boston"fine, very"\n' + ROWS)

    assert [("bad_quotes", 23)] == found.codes
    assert 41 == len(found.rows)
