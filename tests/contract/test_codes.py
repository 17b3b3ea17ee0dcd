"""Codes of rejects: what the page of bad input says of them."""

from __future__ import annotations

import re

from pathlib import Path

from shared.contract.codes import Code

PAGE = (Path(__file__).parents[2] / "docs" / "bad-input.md").read_text(encoding="utf-8")
SERVER_ONLY = {Code.KEY_TOO_LONG, Code.REFUSED_BY_SERVER}
"""The page's cases are loaded into DuckDB, which rejects nothing itself; tests of the engines have these."""


def test_the_page_lists_every_code_with_its_meaning():
    """In the order of the list."""
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE)

    assert [(code.value, code.meaning) for code in Code] == rows


def test_every_code_has_a_case_on_the_page():
    """What can be loaded from a file is; `kept_out` needs an erasure before it, `check_failed` a check."""
    cases = PAGE.partition("## Cases")[2]

    assert {code for code in Code if f"`{code}`" in cases} == set(Code) - SERVER_ONLY - {
        Code.KEPT_OUT,
        Code.CHECK_FAILED,
    }


def test_a_code_is_stored_as_its_text():
    """It travels through JSON and SQL as any text does."""
    assert ("key_null", "key_null") == (str(Code.KEY_NULL), f"{Code.KEY_NULL}")
