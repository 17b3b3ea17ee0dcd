"""Hashes are keyed and the same for equal values; masks leave what they say and no more."""

from __future__ import annotations

import datetime as dt

from decimal import Decimal

import pyarrow as pa
import pytest

from hypothesis import given
from hypothesis import strategies as st

from shared.contract.conform import Contract, fit
from shared.contract.hidden import MASKED, Privacy, is_hidden, value_hash
from shared.errors import ConfigError
from shared.model import Feed
from tests.advice import advises

KEY, OTHER = "k" * 32, "o" * 32
TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40)


def feed(**options):
    return Feed(system="s", table="t", source="exports", keys=("Id",), **options)


def stored(values, key=KEY, kind=None, **options):
    """What is stored of a column Value with these values."""
    batch = pa.record_batch({"Id": range(len(values)), "Value": pa.array(values, kind)})
    declared = feed(**options)
    contract = Contract(declared, fit({"f": batch.schema}, declared), privacy=Privacy(hash_key=key))
    return contract.conform(batch, 0).accepted["Value"].to_pylist()


@given(st.lists(st.none() | TEXT, min_size=1, max_size=20))
def test_equal_values_have_equal_hashes_and_different_ones_do_not(values):
    """By one key; NULL stays NULL, and another key makes other hashes."""
    found = stored(values, hash=("Value",), kind=pa.string())

    assert [value is None for value in values] == [one is None for one in found]
    assert len(set(values)) == len(set(found))
    assert found == stored(values, hash=("Value",), kind=pa.string())
    assert {None}.issuperset(set(found) & set(stored(values, OTHER, hash=("Value",), kind=pa.string())))
    assert all(one is None or is_hidden("hash", one) for one in found)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([7], pa.int16()), ([7], pa.uint64()), ([7.0], pa.float64()), ([Decimal("7.00")], pa.decimal128(9, 2)),
        (["7"], pa.string()), (["7"], pa.large_string()), (["7"], pa.dictionary(pa.int8(), pa.string())),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_has_one_hash_whatever_its_type(values, kind):
    """So tables can be joined by it."""
    assert [value_hash(KEY, "7")] == stored(values, hash=("Value",), kind=kind)


def test_a_declared_type_says_which_values_are_equal():
    """They are read as it first; the column is text."""
    typed = stored(["007", "7"], hash=("Value",), types={"Value": "bigint"})

    assert [value_hash(KEY, 7)] * 2 == typed
    assert 2 == len(set(stored(["007", "7"], hash=("Value",))))


def test_no_digit_of_a_long_decimal_is_left_out_of_its_hash():
    number = "12345678901234567890123456789012345678"

    assert value_hash(KEY, Decimal(number)) == value_hash(KEY, number)


def test_the_hash_is_the_one_that_every_other_program_makes():
    """HMAC-SHA-256 of RFC 4231, test case 2."""
    known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"

    assert known == value_hash("Jefe", "what do ya want for nothing?")


@given(TEXT, st.sampled_from(["all", "last4", "email"]))
def test_a_mask_leaves_what_it_says(value, form):
    """Masked again it stays what it is, as corrected rows come back masked."""
    (found,) = stored([value], mask={"Value": form}, kind=pa.string())

    assert is_hidden(form, found)
    shown = found.removeprefix(MASKED)
    assert {"all": 0, "last4": 4, "email": len(value)}[form] >= len(shown)
    assert value.rstrip().endswith(shown) or value.endswith(shown)
    assert not (form == "last4" and shown and len(value) < 8)
    assert [found] == stored([found], mask={"Value": form}, kind=pa.string())


@pytest.mark.parametrize(
    ("form", "value", "found"),
    [
        ("all", "Ada", "****"), ("all", "", "****"), ("all", None, None), ("all", 7, "****"),
        ("last4", "DE89370400440532013000", "****3000"), ("last4", "1234567", "****"), ("last4", 123456789, "****6789"),
        ("last4", None, None), ("email", " Ada@Example.org ", "****@Example.org"), ("email", "ada", "****"),
        ("email", "a@b@c", "****"), ("email", "a b@c.d", "****"), ("email", None, None),
    ],
)  # fmt: skip
def test_masks_of_ordinary_values(form, value, found):
    """NULL stays NULL."""
    kind = pa.int64() if isinstance(value, int) else pa.string()
    assert [found] == stored([value], mask={"Value": form}, kind=kind)


@pytest.mark.parametrize(
    "value",
    [
        True,
        dt.date(2026, 2, 24),
        dt.datetime(2026, 2, 24, 12, tzinfo=dt.UTC),
        dt.time(12),
        b"ab",
        1e300,
        ["a"],
        {"a": 1},
    ],
    ids=str,
)
def test_a_value_of_any_type_can_be_hidden(value):
    """The column is text."""
    assert is_hidden("hash", stored([value], hash=("Value",))[0])
    assert [MASKED] == stored([value], mask={"Value": "all"})


def test_without_the_key_there_is_one_line_that_says_what_to_do():
    with pytest.raises(ConfigError) as error:
        stored(["x"], key=None, hash=("Value",))

    advises("Set HASH_KEY, for every host that loads, to 32 random characters or more, and keep it", str(error.value))
    assert "there is no HASH_KEY to hash 'Value' of s.t with" in str(error.value)
    assert stored(["x"], hash=("Value",))


@given(st.text(st.characters(codec="utf-8", min_codepoint=0x21), min_size=6, max_size=12), st.data())
def test_rejects_have_no_clear_value(value, data):
    """Of a row without key, of one whose hidden value cannot be read, and of a column that is not stored."""
    declared = feed(
        hash=("Hash",), mask={"Mask": "all"}, rename={"Old": "Mask"}, types={"Hash": "bigint", "Other": "bigint"}
    )
    number = data.draw(st.sampled_from([None, 1]))
    batch = pa.record_batch({"Id": pa.array([number]), "Hash": [value], "Old": [value], "Other": ["x"]})
    columns = [
        column for column in fit({"f": batch.schema}, declared) if data.draw(st.booleans()) or column.name == "Id"
    ]

    found = Contract(declared, columns, privacy=Privacy(hash_key=KEY)).conform(batch, 0)

    assert value not in str([*found.rejects, found.accepted.to_pylist()])
