"""Whatever a `fix` proposes has a test that follows it, or stands here with the reason why not."""

from __future__ import annotations

import ast
import textwrap

from collections import Counter

from tests.fix_texts import ROOT, every_fix

ELSEWHERE: dict[str, str] = {}
"""Texts that cannot be followed here, with the reason."""
NOT_YET = frozenset((ROOT / "tests/data/fixes_not_yet_tried.txt").read_text().splitlines())
MOST_NOT_YET = 126
"""How many are not tried yet. It only ever goes down."""
_FOLLOWERS = ("advised", "advises", "follows")


def followed() -> set[str]:
    """Every text that a test names as one that it follows."""
    return {
        node.args[0].value
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FOLLOWERS
        if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    }


def test_every_fix_is_followed_by_a_test_or_says_why_not():
    """Follow a new text with `advised`, `advises` or `follows` of tests/advice.py."""
    fixes = {fix.template for fix in every_fix()}

    assert set() == fixes - followed() - ELSEWHERE.keys() - NOT_YET


def test_no_entry_outlives_its_fix():
    """A text that is gone, or that a test follows by now, is listed no longer; nor does a test follow what is gone."""
    fixes = {fix.template for fix in every_fix()}

    assert set() == (followed() | ELSEWHERE.keys() | NOT_YET) - fixes
    assert set() == followed() & (ELSEWHERE.keys() | NOT_YET)
    assert set() == ELSEWHERE.keys() & NOT_YET


def test_what_is_not_tried_yet_only_gets_less():
    assert MOST_NOT_YET == len(NOT_YET)


def test_no_fix_sends_to_the_doctor():
    """Which shows the fixes itself."""
    assert not [fix for fix in every_fix() if "sluice doctor" in fix.template]


def test_a_fix_is_found_however_it_is_written(tmp_path):
    """By itself, put together, out of a table, from a function, or as a Finding's fourth value."""
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "some.py").write_text(
        textwrap.dedent("""
            _LATER = "Wait"
            _TABLE = (("a", ConfigError, "From a table"),)
            _FIXES = {1: "By number"}

            def _by(n):
                return f"Do {n}" if n else _LATER

            def check(n):
                for start, kind, fix in _TABLE:
                    raise kind("x", fix=fix)
                yield Finding("a", "failed", "b", "Found")
                raise ConfigError("x", fix=f"{_LATER}, then go" + (" on" if n else ""))
                raise ConfigError("x", fix=_by(n))
                raise ConfigError("x", fix=_FIXES.get(n) or "Else")
                raise ConfigError("x", fix=error.fix)
        """)
    )

    found = Counter(fix.template for fix in every_fix(folder))
    assert set(found) == {
        "Wait", "From a table", "By number", "Do {}", "Found", "Wait, then go", "Wait, then go on", "Else",
    }  # fmt: skip
