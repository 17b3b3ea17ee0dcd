"""Checks in a catalog file: what is read, and what is wrong with an entry, with its line."""

from __future__ import annotations

import pytest

from shared.catalog import read
from shared.declared import Check
from shared.errors import ConfigError
from tests.advice import advised

HEAD = '[system]\nname = "crm"\nsource = "exports"\n\n[tables.item]\nkeys = ["Id"]\n\n'
GOOD = '[[tables.item.checks]]\nkind = "not_null"\ncolumns = ["Email"]\nthen = "reject"\n\n'


def checks(tmp_path, text: str) -> tuple[Check, ...]:
    (tmp_path / "crm.toml").write_text(HEAD + text)
    return read(tmp_path)["crm"].feed("item", []).checks


def test_entries_and_a_list_are_read_alike(tmp_path):
    """Values are kept as text: the column's type is known only with the data."""
    entry = '[[tables.item.checks]]\nkind = "in_range"\ncolumns = ["At"]\nmin = 2026-02-01\nmax = 7\nthen = "warn"\n'
    listed = 'checks = [{ kind = "in_set", columns = ["A"], values = ["x", 1, true], then = "stop" }]\n'

    email, span = checks(tmp_path, GOOD + entry)
    (allowed,) = checks(tmp_path, listed)

    assert Check(kind="not_null", then="reject", columns=("Email",)) == email
    assert Check(kind="in_range", then="warn", columns=("At",), low="2026-02-01", high="7") == span
    assert ("x", "1", "true") == allowed.values


WRONG = {
    "unknown kind": ('kind = "notnull"', "check 2: kind must be one of not_null, in_range, .* (line 14)"),
    "no kind": ('then = "warn"', "check 2: kind must be one of"),
    "no then": ('kind = "sql"\ncondition = "a"', "check 2: then must be 'warn' or 'stop', not None"),
    "rows of a run cannot be rejected": (
        'kind = "unique"\ncolumns = ["A"]\nthen = "reject"',
        "check 2: then must be 'warn' or 'stop', not 'reject' (line 16)",
    ),
    "unknown option": ('kind = "not_null"\ncolumns = ["A"]\nthen = "warn"\nmin = 1', "check 2: 'min' is unknown"),
    "no columns": ('kind = "not_null"\nthen = "warn"', "check 2: columns must be a list of column names"),
    "no bounds": ('kind = "row_count"\nthen = "warn"', "check 2: min must be there, or max"),
    "bad pattern": (
        'kind = "matches"\ncolumns = ["A"]\npattern = "("\nthen = "warn"',
        "check 2: pattern must be a regular expression (RE2), not '(' (line 16)",
    ),
    "no such key": (
        'kind = "refers_to"\ncolumns = ["A"]\nreferences = "b.c"\nthen = "warn"', "check 2: references must be a key",
    ),
    "no cursor": ('kind = "freshness"\nhours = 2\nthen = "warn"', "check 2: freshness needs a feed with a cursor"),
}  # fmt: skip


@pytest.mark.parametrize(("entry", "problem"), WRONG.values(), ids=WRONG)
def test_wrong_entry_is_reported_with_its_number_and_line(tmp_path, entry, problem):
    """Corrected as that says, it is read."""
    with advised("Correct {}") as advice:
        checks(tmp_path, f"{GOOD}[[tables.item.checks]]\n{entry}\n")

    start, _, line = problem.partition(" .* ")
    assert start in str(advice.error)
    assert line in str(advice.error)
    assert checks(tmp_path, GOOD)


def test_column_that_a_layout_does_not_have_is_reported(tmp_path):
    """Of text files all columns are declared."""
    text = '[system]\nname = "crm"\nsource = "csv"\n[tables.item]\nkeys = ["Id"]\ncolumns = { Id = {} }\n'
    (tmp_path / "crm.toml").write_text(f"{text}{GOOD}")

    with pytest.raises(ConfigError, match="check 1: 'Email' is no column under columns"):
        read(tmp_path)
