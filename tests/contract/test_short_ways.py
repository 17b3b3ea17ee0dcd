"""What is cleaned in a short way has the values and faults that the long way gives it."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contract import dates, distinct, mail, phone, words
from shared.contract.clean import CleanOptions, clean
from shared.contract.forms import Forms
from shared.contract.json_rows import objects

NONE = Forms([])
DIGITS = st.sampled_from("0001123456789")


def of(forms):
    """Texts of the forms, and others that differ from one in a character."""

    @st.composite
    def drawn(draw):
        form = draw(st.sampled_from(forms))
        text = "".join(draw(DIGITS) if char == "0" else char for char in form)
        if not draw(st.booleans()):
            return text
        place = draw(st.integers(0, len(text)))
        return (
            text[:place]
            + draw(st.sampled_from(["", "0", "1", " ", "-", "x", "Z", "é"]))
            + text[place + draw(st.booleans()) :]
        )

    return st.lists(st.none() | drawn() | st.just(" "), max_size=30)


def days(draw):
    """Numbers that are days and times more often than digits by chance would be."""
    return (
        draw(st.integers(1, 13)),
        draw(st.integers(1, 33)),
        draw(st.sampled_from([0, 1, 1900, 2000, 2023, 2024, 9999])),
    )


@st.composite
def instants(draw):
    date = draw(
        st.sampled_from(["{y:04}-{m:02}-{d:02}", "{m:02}/{d:02}/{y:04}", "{d:02}.{m:02}.{y:04}", "{m}/{d}/{y:04}"])
    )
    month, day, year = days(draw)
    clock = f"{draw(st.integers(0, 25)):02}:{draw(st.integers(0, 61)):02}"
    time = draw(
        st.sampled_from(["", f" {clock}", f" {clock}:59", f"T{clock}:60", f"T{clock}:00Z", f" {clock}:00 PM EST"])
    )
    return date.format(y=year, m=month, d=day) + time


def same(texts, cleaner, kind, options, monkeypatch, module, **longer):
    array = pa.array(texts, pa.string())
    short = clean(array, cleaner, kind, options)
    with monkeypatch.context() as patch:
        for name, value in longer.items():
            patch.setattr(module, name, value)
        long = clean(array, cleaner, kind, options)
    assert long.values.to_pylist() == short.values.to_pylist()
    assert _faults(long) == _faults(short)


def _faults(cast):
    """By its place: code and reason of the fault of a value."""
    return {row: (one.code, one.reason) for one in cast.faults for row, bad in enumerate(one.where.to_pylist()) if bad}


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@given(
    texts=of(dates._USUAL._forms) | st.lists(instants()),
    kind=st.sampled_from(["date", "timestamp"]),
    first=st.booleans(),
)
def test_dates(patched, texts, kind, first):
    for zone in ("UTC", "America/New_York"):
        same(texts, kind, kind, CleanOptions(day_first=first, timezone=zone), patched, dates, _USUAL=NONE)


@given(texts=of(dates._USUAL._forms) | st.lists(instants()))
def test_the_order_of_day_and_month(patched, texts):
    array = pa.array(texts, pa.string())
    short = dates.day_month(array)
    with patched.context() as patch:
        patch.setattr(dates, "_USUAL", NONE)
        assert dates.day_month(array) == short


@settings(max_examples=400)
@given(texts=of([*phone._FORMS._forms, *phone._LOCAL._forms]), region=st.sampled_from(["US", "CA", "JM", "GB", "DE"]))
def test_phone_numbers(patched, texts, region):
    same(texts, "phone", "text", CleanOptions(region=region), patched, phone, _FORMS=NONE, _LOCAL=NONE, _USUAL=())


@given(texts=of([*words._FULL._forms, "0000", "000", "00000 0000"]), region=st.sampled_from(["US", "GB"]))
def test_postal_codes(patched, texts, region):
    same(texts, "zip", "text", CleanOptions(region=region), patched, words, _FULL=NONE)


@given(
    st.text(st.characters(exclude_characters="@", exclude_categories=["Cs"]), max_size=30)
    | st.from_regex("^[a-z.]{1,9}\uff20[a-z.]{1,9}$")
)
def test_an_address_without_the_mark_is_none(text):
    """Also with one that only looks like it."""
    assert mail._normalised(text) is None
    assert [None] == clean(pa.array([text]), "email", "text", CleanOptions()).values.to_pylist()


@given(texts=st.lists(instants() | st.text(max_size=5), min_size=5), most=st.sampled_from([0.0, 1.0]))
def test_texts_that_repeat_and_texts_that_do_not(patched, texts, most):
    """Cleaned one by one, or once each."""
    same(texts, "timestamp", "timestamp", CleanOptions(), patched, distinct, _LOOKED_AT=5, _MOST_DIFFERENT=most)


@given(
    st.lists(st.tuples(*[st.none() | st.text(st.characters(exclude_categories=["Cs"]))] * 3), min_size=1),
    st.sampled_from(["a", 'b"\\\n', "é{}"]),
)
def test_rows_as_json(rows, name):
    names = [name, "other", "third"]
    batch = pa.record_batch([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], names=names)

    assert [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows] == objects(
        batch
    ).to_pylist()
