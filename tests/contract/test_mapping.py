"""Headers find their columns by name and alias, in the catalog's order, and never by resemblance."""

import json

import hypothesis.strategies as st
import pyarrow as pa
import pytest

from hypothesis import given

from shared.contract.conform import Contract, fit
from shared.contract.mapping import map_headers, normalized, with_choices
from shared.declared import Layout, LayoutColumn
from shared.errors import ConfigError, DataError
from shared.model import Column, Feed

LAYOUT = Layout(
    columns=(
        LayoutColumn(name="lead_id", aliases=("id", "_id")),
        LayoutColumn(name="phone", aliases=("phone_1", "primary_phone"), several="coalesce"),
        LayoutColumn(name="email", aliases=("email_address",)),
        LayoutColumn(name="start", aliases=("Start Date",), parts=("Start Time", "Start Timezone")),
        LayoutColumn(name="end", aliases=("End Date",), parts=("Start Timezone",)),
        LayoutColumn(name="miles", type="integer", aliases=("Mileage",), required=True),
    )
)
FEED = Feed(system="crm", table="leads", source="csv", keys=("lead_id",), layout=LAYOUT)


def mapped(*headers: str) -> dict[str, tuple[str, ...]]:
    return {column.name: (column.source, *column.more) for column in map_headers(headers, LAYOUT).columns}


def test_headers_are_compared_without_case_accents_punctuation_and_bracketed_suffixes() -> None:
    assert {"lead_id": ("LEAD-ID",), "miles": ("Mileage (in miles)",), "Extra": ("",)} == mapped(
        "LEAD-ID", "Mileage (in miles)"
    )
    assert normalized("Téléphone") == normalized(" telephone ")


def test_of_several_aliases_the_first_takes_the_column_and_the_others_are_kept_in_extra() -> None:
    assert {"lead_id": ("id",), "Extra": ("", "_id")} == mapped("_id", "id")


def test_a_column_that_coalesces_takes_all_of_its_headers_in_the_order_of_the_catalog() -> None:
    assert ("phone", "primary phone") == mapped("primary phone", "phone")["phone"]


def test_what_a_column_that_coalesces_may_not_store_is_kept_in_extra_and_is_not_unmapped() -> None:
    found = map_headers(["id", "primary phone", "phone"], LAYOUT)

    assert ("primary phone",) == found.columns[-1].more
    assert () == found.unmapped


def test_two_columns_can_share_a_part() -> None:
    found = mapped("End Date", "Start Date", "Start Timezone")

    assert [("Start Date", "Start Timezone"), ("End Date", "Start Timezone")] == [found["start"], found["end"]]
    assert ("",) == found["Extra"]


def test_a_part_without_header_is_left_out() -> None:
    assert ("Start Date", "Start Timezone") == mapped("Start Timezone", "Start Date")["start"]


def test_a_header_that_only_resembles_a_column_is_suggested_and_kept_in_extra() -> None:
    found = map_headers(["id", "emial_address"], LAYOUT)

    assert {"emial_address": "email"} == found.suggestions
    assert ("emial_address",) == found.unmapped


def test_a_choice_goes_before_every_alias() -> None:
    chosen = with_choices(LAYOUT, {"second mail": "email"})

    assert Column("second mail", "email", "text") in map_headers(["id", "email", "second mail"], chosen).columns


def test_a_chosen_header_is_not_taken_by_a_column_that_accepts_it() -> None:
    """Also by one that comes earlier in the layout."""
    layout = Layout(columns=(LayoutColumn(name="phone", aliases=("mobile",)), LayoutColumn(name="other_phone")))

    columns = map_headers(["phone", "mobile"], with_choices(layout, {"phone": "other_phone"})).columns

    assert [("mobile", "phone"), ("phone", "other_phone")] == [(one.source, one.name) for one in columns[:-1]]


def test_a_choice_of_an_unknown_column_or_header_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="Choose one of lead_id, phone, email"):
        with_choices(LAYOUT, {"x": "nothing"})
    with pytest.raises(ConfigError, match="Choose one of id, mail"):
        map_headers(["id", "mail"], with_choices(LAYOUT, {"x": "email"}))


def test_without_a_key_the_headers_seen_and_those_accepted_are_named() -> None:
    with pytest.raises(DataError, match=r"it has email, phone, and accepted are lead_id, id, _id") as refused:
        fit({"leads.csv": pa.schema([("email", pa.string()), ("phone", pa.string())])}, FEED)

    assert '--map "HEADER=lead_id"' in refused.value.fix


def test_headers_of_a_file_that_is_no_text_are_shown_on_one_line() -> None:
    with pytest.raises(DataError, match=r"it has \?PNG\?, x{40}\.\.\., and accepted") as refused:
        fit({"image.png": pa.schema([("\x89PNG\r", pa.string()), ("x" * 99, pa.string())])}, FEED)

    assert 1 == len(str(refused.value).splitlines())


def test_a_required_column_has_to_have_a_header():
    """Each row would be loaded without it."""
    with pytest.raises(DataError, match="it has id, and accepted are miles, Mileage"):
        fit({"leads.csv": pa.schema([("id", pa.string())])}, FEED)


@given(
    st.lists(st.sampled_from(["id", "_id", "ID ", "phone", "phone_1", "Start Date", "x", "Mileage", "é"]), unique=True)
)
def test_every_header_is_taken_by_a_column_or_kept_in_extra(headers: list[str]) -> None:
    found = map_headers(headers, LAYOUT)
    taken = [header for column in found.columns if column.source for header in (column.source, *column.more)]

    assert sorted(headers) == sorted([*taken, *found.unmapped])


def conformed(**columns: list[str | None]) -> tuple[list[dict[str, object]], list[tuple[str | None, str]]]:
    batch = pa.record_batch({name: pa.array(values, pa.string()) for name, values in columns.items()})
    found = Contract(FEED, fit({"f": batch.schema}, FEED)).conform(batch, 0)
    return found.accepted.to_pylist(), [(reject.column, reject.code.value) for reject in found.rejects]


def test_texts_are_combined_trimmed_and_blank_becomes_null() -> None:
    rows, rejects = conformed(
        **{
            "id": [" a ", "b"], "phone": ["", " 1 "], "primary_phone": ["2", "3"], "Mileage": ["1", "2"],
            "Start Date": ["1/2/2026", " "], "Start Time": [None, "8:00"], "Start Timezone": ["EST", "EST"],
        }
    )  # fmt: skip

    assert [("start", "not_a_date")] == rejects
    assert [("a", "2", "1/2/2026 EST"), ("b", "1", None)] == [(r["lead_id"], r["phone"], r["start"]) for r in rows]


def test_parts_without_the_date_that_they_complete_are_rejected() -> None:
    """Whatever the header is called: a reason is a format for types."""
    layout = Layout(columns=(LayoutColumn(name="id"), LayoutColumn(name="start", parts=("{time}", "zone"))))
    feed = Feed(system="crm", table="visits", source="csv", keys=("id",), layout=layout)
    batch = pa.record_batch(
        {"id": ["a", "b", "c"], "start": ["1/2/2026", " ", None], "{time}": ["8:00", "9:00", " "], "zone": [""] * 3}
    )

    found = Contract(feed, fit({"f": batch.schema}, feed)).conform(batch, 0)

    (reject,) = found.rejects
    assert (1, "value", "start") == (reject.row, reject.scope, reject.column)
    assert "text in '{time}' or 'zone', but none in 'start'" == reject.reason
    assert json.loads(reject.raw)["{time}"] == "9:00"
    assert ["1/2/2026 8:00", None, None] == found.accepted["start"].to_pylist()


def test_a_part_that_has_a_column_of_its_own_is_not_lost_with_the_date() -> None:
    """Every task has a zone, also one that has not begun."""
    layout = Layout(
        columns=(LayoutColumn(name="id"), LayoutColumn(name="zone"), LayoutColumn(name="start", parts=("zone",)))
    )
    feed = Feed(system="crm", table="visits", source="csv", keys=("id",), layout=layout)
    batch = pa.record_batch({"id": ["a"], "start": [""], "zone": ["EST"]})

    found = Contract(feed, fit({"f": batch.schema}, feed)).conform(batch, 0)

    assert [] == found.rejects
    assert [("EST", None)] == [(row["zone"], row["start"]) for row in found.accepted.to_pylist()]


def test_of_headers_that_coalesce_extra_has_the_texts_that_are_not_stored() -> None:
    rows, _ = conformed(
        id=["a", "b", "c"], phone=["", "1", " "], phone_1=["2", "3", None], primary_phone=["4", " ", "5"],
        Mileage=["1", "1", "1"],
    )  # fmt: skip

    assert [("2", {"primary_phone": "4"}), ("1", {"phone_1": "3"}), ("5", None)] == [
        (row["phone"], json.loads(str(row["Extra"])) if row["Extra"] else None) for row in rows
    ]


def test_a_required_column_without_value_rejects_the_row() -> None:
    rows, rejects = conformed(id=["a", "b"], Mileage=["1", " "])

    assert ["a"] == [row["lead_id"] for row in rows]
    assert [("miles", "value_missing")] == rejects


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=5))
def test_extra_is_json_of_the_texts_that_are_not_blank(texts: list[tuple[str, str]]) -> None:
    valid = [(one, other) for one, other in texts if not _surrogates(one + other)] or [("a", "b")]
    names = ['a"\\\n', "é"]
    batch = {"id": [str(n) for n in range(len(valid))], "Mileage": ["1"] * len(valid)}
    rows, _ = conformed(**batch, **{name: [pair[n] for pair in valid] for n, name in enumerate(names)})

    for row, pair in zip(rows, valid, strict=True):
        expected = {name: text for name, text in zip(names, pair, strict=True) if text.strip()}
        assert expected == (json.loads(str(row["Extra"])) if row["Extra"] is not None else {})


def _surrogates(text: str) -> bool:
    return any(0xD800 <= ord(char) < 0xE000 for char in text)
