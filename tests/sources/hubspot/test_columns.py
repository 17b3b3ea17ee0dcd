"""Pages that Arrow reads have the columns that the standard library makes of them, and fail where it fails."""

from __future__ import annotations

import datetime as dt
import json

import pyarrow as pa
import pytest

from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.errors import IngestError
from shared.rest.failures import Response
from shared.rest.pages import Page, records_of
from shared.rest.rows import at, read_json
from shared.sources.hubspot import columns, records
from shared.sources.hubspot.columns import PageReader, in_batches, until, with_losers

NAMES = ["email", "score", "lastmodifieddate", "hs_merged_object_ids"]
HOST = "api.test"

TEXTS = st.text(max_size=4).map(json.dumps) | st.text(st.characters(exclude_categories=()), max_size=3).map(json.dumps)
PLAIN = st.just("null") | TEXTS | st.sampled_from(['"2026-02-24T12:00:00Z"', '""', '"5;6"', '"1771934400000"'])
ODD = st.sampled_from([
    "7", "-0", "1.50", "1e400", str(10**40), "true", "false", "[1]", '{"a":{"b":null}}', "NaN", '"\\ud800"',
    '"\\ud83d\\udd11"', '"\\u0000"', "007", '"\x01"', "", "nul", "[", '"\\x"', '","paging":{}"', '"\\",\\"paging\\":"',
])  # fmt: skip
VALUES = st.one_of(PLAIN, PLAIN, PLAIN, PLAIN, ODD)


def members(names, values):
    """Fields of an object, some of them twice, as JSON writes them."""
    pair = st.tuples(st.sampled_from(names), values).map(lambda one: f'"{one[0]}":{one[1]}')
    return st.lists(pair, max_size=5).map(",".join)


@st.composite
def written_records(draw, values=VALUES):
    properties = draw(members([*NAMES, "other"], values))
    own = draw(members(["createdAt", "archivedAt", "archived", "url", "merged_into"], values | st.just("true")))
    id = draw(st.sampled_from(['"id":"1"'] * 5 + ['"id":2', '"id":null', '"url":1']))
    parts = [
        id,
        *([own] if own else []),
        draw(st.sampled_from([f'"properties":{{{properties}}}'] * 5 + ['"properties":null'])),
    ]
    return f"{{{','.join(draw(st.permutations(parts)))}}}"


AFTER = st.sampled_from(['"7"', '"8"', "9", "null", "true", '{"x":1}'])
ENDS = AFTER.map(lambda after: f'"paging":{{"next":{{"after":{after},"link":"l"}}}}')


@st.composite
def bodies(draw):
    found = draw(st.lists(written_records(), max_size=3).map(",".join))
    parts = [
        f'"results":[{found}]',
        draw(ENDS),
        *draw(st.lists(st.sampled_from(['"total":3', '"results":[]', '"paging":{}']), max_size=1)),
    ]
    body = f"{{{','.join(draw(st.sampled_from([parts, parts[:1], parts[::-1]])))}}}"
    wrapped = draw(
        st.sampled_from(
            [body] * 12
            + [
                f" {body}\n",
                f"{body}{body}",
                f"{body},",
                f"\ufeff{body}",
                body.replace(",", ", "),
                body.replace(",", ",\n"),
                body[:-1],
            ]
        )
    )
    return draw(
        st.sampled_from(
            [wrapped.encode("utf-8", "surrogatepass")] * 9
            + [wrapped.encode("utf-16", "surrogatepass"), wrapped.encode("latin-1", "replace")]
        )
    )


def expected(body):
    """Raw columns of a page, and the token of the next one, by the standard library alone."""
    content = read_json(body)
    return records.raw_of(records_of(content, "results", HOST), NAMES), at(content, "paging.next.after")


def outcome(call):
    try:
        raw, after = call()
    except (ValueError, IngestError, KeyError, AttributeError, TypeError):
        return "fails"
    return raw.to_pydict(), after


def lazily(body):
    reader = PageReader(NAMES, HOST)
    page, content = reader.read_lazily(Response(200, {}, body))
    (found,) = reader.columns([Page(page, Response(200, {}, body), content)])
    (raw,) = found.rows
    return raw, at(content, "paging.next.after")


@given(bodies())
@example(b'{"results":[{"id":"1","properties":{"email":"a"}}],"paging":{"next":{"after":"7"}}}')
@example(b'{"results":[{"id":"1","properties":{"email":"a","email":"b"}}],"paging":{"next":{"after":"7"}}}')
@example(b'{"results":[{"id":"1","x":{"a":"b","paging":{"next":{"after":"7"}}}}]}')
@example(b'{"results":[{"id":"1","properties":{"email":"\xff"}}],"paging":{"next":{"after":"7"}}}')
@example(b'{"results":[{"id":"1","properties":{"email":"x\ny"}}],"paging":{"next":{"after":"7"}}}')
@example(b'{"results":[null],"paging":{"next":{"after":"7"}}}')
@example(b'{"results":[],"paging":{"next":{"after":"7"}}}')
@example(b'{"results":null,"paging":{"next":{"after":"7"}}}')
@example(b'{"results":{"id":"1"},"paging":{"next":{"after":"7"}}}')
@example(b'[],"paging":{"next":{"after":"7"}}}')
def test_a_page_has_the_same_columns_in_both_ways(body):
    """Whatever is written twice, nested, numeric, huge, half a character, or no JSON at all."""
    assert outcome(lambda: expected(body)) == outcome(lambda: lazily(body))
    assert outcome(lambda: (expected(body)[0], 0)) == outcome(
        lambda: (PageReader(NAMES, HOST).read(Response(200, {}, body)), 0)
    )


@settings(max_examples=40)
@given(st.sampled_from([1, 2, 20]), st.lists(bodies(), max_size=4))
def test_many_pages_are_those_pages_in_their_order(group, pages):
    """Those that Arrow reads, and others between them."""
    found = [body for body in pages if outcome(lambda body=body: expected(body)) != "fails"]
    reader = PageReader(NAMES, HOST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_PAGES", group)
        pages_read = (
            Page(reader.read_lazily(Response(200, {}, body))[0], Response(200, {}, body), None) for body in found
        )
        read = [raw for some in reader.columns(pages_read) for raw in some.rows]

    assert rows([expected(body)[0] for body in found]) == rows(read)


def rows(batches):
    return [row for batch in batches for row in batch.to_pylist()]


def test_plain_pages_take_arrow_alone(monkeypatch):
    """Which is what this is for."""
    monkeypatch.setattr(columns, "raw_of", None)
    page = (
        b'{"results":[{"id":"1","archived":false,"properties":{"email":"\xc3\xa4"}}],"paging":{"next":{"after":"1"}}}'
    )

    assert {"id": "1", "archived": "false", "email": "ä"}.items() <= lazily(page)[0].to_pylist()[0].items()


def test_a_page_that_turns_out_to_be_no_json_names_the_host():
    """Its end was plain, so that it was not looked at before the next one was called for."""
    page = b'{"results":[{"id":x}],"paging":{"next":{"after":"1"}}}'

    with pytest.raises(IngestError, match=r"api\.test answers with something else than JSON"):
        lazily(page)


CURSORS = st.sampled_from(
    [None, "", "2026-02-24T12:00:00.123Z", "2026-02-24T12:00:00Z", "2026-02-24T12:00:00.1245Z", "2026-02-30T12:00:00Z"]
)
ODD_CURSORS = CURSORS | st.sampled_from(
    ["1771934400123", "2026-02-24", "soon", "2026-02-24T13:00:00+01:00", " 2026-02-24T12:00:00Z"]
)
FOUND = st.lists(
    st.fixed_dictionaries({
        "id": st.integers(1, 6).map(str),
        "properties": st.fixed_dictionaries({
            "lastmodifieddate": CURSORS, "hs_merged_object_ids": st.sampled_from([None, "", "7", "8; 9;x;1", ";"]),
        }),
    }),
    max_size=5,
)  # fmt: skip
LAST = dt.datetime(2026, 2, 24, 12, 0, 0, 123_000)  # noqa: DTZ001 - in UTC


@given(st.lists(CURSORS, max_size=5) | st.lists(ODD_CURSORS, max_size=5))
def test_records_after_the_end_of_a_window_are_left_out(values):
    """Those without an instant stay, for the contract to reject."""
    found = [{"id": str(n), "properties": {"lastmodifieddate": value}} for n, value in enumerate(values)]
    moments = [records.instant(one, "lastmodifieddate") for one in found]
    wanted = [one["id"] for one, at in zip(found, moments, strict=True) if at is None or at <= LAST]
    raw = records.raw_of(found, NAMES)

    assert wanted == until(raw, "lastmodifieddate", LAST)["id"].to_pylist()
    assert raw.equals(until(raw, "lastmodifieddate", None))
    assert raw.equals(until(raw, "not_there", LAST))


@given(FOUND)
def test_what_was_merged_follows_what_it_was_merged_into(found):
    """As tombstones."""
    expected = []
    for one in found:
        expected += [one, *records.losers(one, "lastmodifieddate")]
    read = with_losers(records.raw_of(found, NAMES), "lastmodifieddate")

    assert records.raw_of(expected, NAMES).to_pylist() == read.to_pylist()


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(1, 7))
def test_batches_have_the_rows_of_pages(sizes, size):
    """So many in each but the last."""
    pages = [pa.record_batch({"n": pa.array([n] * count, pa.int64())}) for n, count in enumerate(sizes)]
    found = list(in_batches(pages, size))

    assert [n for n, count in enumerate(sizes) for _ in range(count)] == [
        n for one in found for n in one["n"].to_pylist()
    ]
    assert all(one.num_rows == size for one in found[:-1])
    assert all(0 < one.num_rows <= size for one in found)
