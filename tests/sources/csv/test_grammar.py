"""The patterns that records are found with."""

from __future__ import annotations

import itertools
import re

import pytest

from shared.sources.csv.grammar import Grammar

GRAMMARS = [
    Grammar(delimiter, quote, escape, padded=padded, loose=loose, bare=bare)
    for delimiter, quote, escape, padded, loose, bare in itertools.product(
        (b",", b"||"), (b'"', None), (None, b"\\"), (False, True), (False, True), (False, True)
    )
]


@pytest.mark.parametrize("grammar", GRAMMARS, ids=str)
def test_no_group_repeats_possessively(grammar):
    """Python before 3.11.5, which Debian 12 has, finds less with them (gh-106052): rows would be lost there alone."""
    patterns = [grammar.record, grammar.fitting(3), grammar.closed_fields, grammar.open_at_end, grammar._fields]

    assert not any(re.search(rb"\)(?:[*+?]|\{\d+\})\+", pattern.pattern) for pattern in patterns)


@pytest.mark.parametrize(
    ("grammar", "record", "values"),
    [
        (Grammar(b"||", b'"'), b'a|b||"c||d"||', [b"a|b", b"c||d", b""]),
        (Grammar(b"||", None, b"\\"), b"a\\||b||c\\\\", [b"a||b", b"c\\"]),
        (Grammar(b",", b'"', b"\\"), b'"a\\",""b",c\\,d', [b'a","b', b"c,d"]),
        (Grammar(b",", b'"', bare=True), b'"5" wide, "x"",b', [b'5" wide, "x"', b"b"]),
        (Grammar(b",", b'"', padded=True), b'a,  "b"', [b"a", b"b"]),
    ],
)
def test_record_has_these_fields(grammar, record, values):
    assert record == grammar.record.fullmatch(record)[0]
    assert values == grammar.fields(record)
