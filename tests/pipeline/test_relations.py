"""The order in which feeds are loaded: a key comes before what refers to it."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from shared.catalog import PACKAGED, read
from shared.model import Feed
from shared.pipeline.relations import in_order

NAMES = [f"t{number}" for number in range(7)]


def feed(table: str, *others: str) -> Feed:
    references = {f"{other}_id": f"crm.{other}.id" for other in others}
    return Feed(system="crm", table=table, source="sql", keys=("id",), references=references)


def tables(levels: list[list[Feed]]) -> list[list[str]]:
    return [[one.table for one in level] for level in levels]


def test_feeds_come_after_those_that_they_refer_to():
    feeds = [feed("visit", "lead", "user"), feed("lead", "user"), feed("user"), feed("zip")]

    assert [["user", "zip"], ["lead"], ["visit"]] == tables(in_order(feeds))


def test_references_to_itself_and_to_feeds_that_are_not_there_do_not_count():
    assert [["user", "lead"]] == tables(in_order([feed("user", "user"), feed("lead", "zip")]))


def test_a_circle_shares_a_level_between_what_it_refers_to_and_what_refers_to_it():
    feeds = [feed("after", "a"), feed("a", "b"), feed("b", "c"), feed("c", "a", "before"), feed("before")]

    assert [["before"], ["a", "b", "c"], ["after"]] == tables(in_order(feeds))


def test_nothing_is_in_order():
    assert [] == in_order([])


@given(st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES))))
def test_every_feed_is_in_one_level_and_refers_to_none_of_a_later_one(references):
    """Unless the later one refers back."""
    feeds = [feed(table, *others) for table, others in references.items()]

    levels = in_order(feeds)

    place = {one.table: number for number, level in enumerate(levels) for one in level}
    assert all(levels)
    assert sorted(one.table for one in feeds) == sorted(one.table for level in levels for one in level)
    for table, others in references.items():
        for other in others & place.keys():
            assert place[other] < place[table] or (place[other] == place[table] and leads_to(other, table, references))


def leads_to(start: str, end: str, references: Mapping[str, set[str]]) -> bool:
    seen, todo = {start}, [start]
    while todo:
        new = references.get(todo.pop(), set()) - seen
        seen |= new
        todo += new
    return end in seen


def test_tables_of_genius_come_after_its_users():
    levels = tables(in_order(read(PACKAGED)["genius"].feeds()))

    assert "users" in levels[0]
    last = max(number for number, level in enumerate(levels) if "prospects" in level)
    assert next(number for number, level in enumerate(levels) if "appointments" in level) > last
