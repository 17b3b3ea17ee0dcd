"""Names that SQLAlchemy does not get to see."""

from __future__ import annotations

import re

import pytest

from hypothesis import given
from hypothesis import strategies as st

from shared.warehouses.azure_sql import tsql
from shared.warehouses.merge import numbered
from shared.warehouses.merge.names import QuotedNames
from tests.suites.warehouse_case import HOSTILE

ODD = (*HOSTILE, "%(Id_1)s", "__[POSTCOMPILE_Id_1]", "\x02", "\x020\x03", "\x0261\x03", "\x02\x03", "🔑" * 64)
QUOTES = {"brackets": tsql.name, "quotation marks": numbered.quoted}


@pytest.fixture(params=QUOTES)
def quote(request):
    return QUOTES[request.param]


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_hidden_names_come_back_in_quotes(quote, odd):
    """Once, even where a name looks like what stands for one."""
    names = QuotedNames(quote)

    text = f"SELECT {names.mask(odd)}, {names.mask('first')}"

    assert f"SELECT {quote(odd)}, {quote('first')}" == names.unmask(text)


@given(st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=60), max_size=5))
def test_any_names_come_back_each_in_its_place(listed):
    names = QuotedNames(numbered.quoted)

    assert ", ".join(map(numbered.quoted, listed)) == names.unmask(", ".join(map(names.mask, listed)))


def test_hidden_names_have_nothing_that_a_compiler_looks_for(quote):
    """Neither parentheses nor brackets, percent signs or colons; and each is another one."""
    hidden = [QuotedNames(quote).mask(odd) for odd in ODD]

    assert all(re.fullmatch(r"\x02[0-9a-f]+\x03", one) for one in hidden)
    assert len(set(ODD)) == len(set(hidden))
