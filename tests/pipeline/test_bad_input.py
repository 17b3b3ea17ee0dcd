"""The page of bad input and the tests that hold it have the same cases."""

from __future__ import annotations

from tests.pipeline import (
    test_bad_csv,
    test_bad_files,
    test_bad_folders,
    test_bad_packed,
    test_bad_rows,
    test_bad_values,
)
from tests.pipeline.bad_input import page

MODULES = (test_bad_csv, test_bad_files, test_bad_folders, test_bad_packed, test_bad_rows, test_bad_values)


def test_page_and_tests_know_the_same_cases():
    """Every row of the page is held by one test, and every case has its row."""
    marked = [test.case for module in MODULES for test in vars(module).values() if hasattr(test, "case")]

    tables = (test_bad_csv.FILES, test_bad_packed.FILES, test_bad_values.KEPT, test_bad_rows.NAMES)

    assert sorted(page()) == sorted([*marked, *(name for table in tables for name in table)])
