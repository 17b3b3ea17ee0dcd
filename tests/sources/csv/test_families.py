"""Files with one thing wrong each: what can be read is, and what cannot is rejected, without any parameter."""

from __future__ import annotations

from statistics import fmean

import pytest

from tests.sources.csv.conftest import read_csv
from tests.sources.csv.polluted import ROWS, score, single_records, whole_files

WHOLE = {one.family: one for one in whole_files()}


@pytest.mark.parametrize("family", WHOLE)
def test_file_that_is_unusual_as_a_whole_is_read_in_full(family):
    """Its header is found, every row is as it was meant, and what is no row of it is rejected."""
    wanted = WHOLE[family]
    found = read_csv(wanted.content)

    assert wanted.header == found.dialect.header
    assert list(wanted.rows) == found.rows


def test_one_wrong_record_costs_itself_alone():
    """Each is rejected with the text it has in the file; all others are rows."""
    for wanted in single_records(step=13):
        found = read_csv(wanted.content)

        assert len(ROWS) - 1 == len(found.rows), wanted.family
        (bad,) = found.bad
        assert bad.raw.encode() in wanted.content.splitlines()
        assert wanted.content.find(bad.raw.encode()) == bad.offset


def test_score_of_all_families_is_what_we_promise():
    """At least 9.9 of 10 over all files, and 9.5 over families."""
    files = [*whole_files(), *single_records(step=13)]
    scores = [(one.family, score(found.dialect.header, found.rows, one)) for one in files for found in [_read(one)]]
    families = {family: fmean(points for name, points in scores if name == family) for family, _ in scores}

    assert fmean(points for _, points in scores) >= 9.9
    assert fmean(families.values()) >= 9.5


def _read(one):
    return read_csv(one.content)
