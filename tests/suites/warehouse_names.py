"""Views that join names in, as every warehouse makes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from shared.warehouses import NamedReference, NamedView
from tests.suites.warehouse_case import quoted, row

PERSON = {"First": pa.string(), "n" * 60: pa.string()}
ORDER = {"Buyer": pa.int64(), "Seller": pa.string(), "Buyer_First": pa.string(), "x'] AS \"y": pa.int32()}
HOSTILE = "x'] AS \"y"


def reference(column: str, *display: str, table: str = "person", key: str = "PERSONID") -> NamedReference:
    return NamedReference(column=column, system="shop", table=table, key=key, display=display)


class Names:
    """``<table>_named``."""

    has_views = True
    """False: a view is left out without a word."""

    @pytest.fixture(autouse=True)
    def _only_with_views(self, request: pytest.FixtureRequest) -> None:
        if request.function.__name__ in vars(Names) and not self.has_views:
            pytest.skip("it has no views")

    def people(self, case: Any, *names: str, number: float = 5) -> None:
        rows = [row(n, First=first, **{"n" * 60: first.upper()}) for n, first in enumerate(names, 1)]
        case.loaded("full", number, *rows, table="person", types=PERSON)

    def orders(self, case: Any, **how: Any) -> None:
        orders = [
            row(1, Buyer=1, Seller="2", Buyer_First="own", **{HOSTILE: 2}),
            row(2, Buyer=9, Seller=None, **{HOSTILE: 1}),
            row(3, "gone", 2, True, Buyer=1, Seller="2"),
        ]
        case.loaded("full", 6, *orders, table="order", types=ORDER, **how)

    def view(self, case: Any, *references: NamedReference) -> NamedView:
        return NamedView(feed=case.feed("order"), references=references)

    def shown(self, case: Any) -> dict[int, dict[str, Any]]:
        """The rows of the view by their key."""
        names = self.names(case)
        rows = case.query(f'SELECT {", ".join(map(quoted, names))} FROM "shop"."order_named"')
        return {found[names.index("OrderId")]: dict(zip(names, found, strict=True)) for found in rows}

    def names(self, case: Any) -> list[str]:
        found = case.query(
            "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS"
            " WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = 'order_named' ORDER BY ORDINAL_POSITION"
        )
        return [str(one[0]) for one in found]

    def test_view_has_active_rows_and_names_of_what_they_refer_to(self, case):
        """Several references to one table, one of another type, one by a hostile name; names are cut to 63 bytes."""
        self.people(case, "Ada", "Bob")
        self.orders(case)
        long = "n" * 60
        view = self.view(
            case, reference("buyer", "FIRST", long), reference("Seller", "First"), reference(HOSTILE, long)
        )

        assert [] == case.app.warehouse.renew_view(view)

        shown = self.shown(case)
        new = [name for name in self.names(case) if name not in case.columns("order")]
        assert {1, 2} == shown.keys()
        assert 63 == max(len(name.encode()) for name in new)
        assert ["own", "Ada", "ADA", "Bob", "BOB"] == [shown[1][name] for name in ("Buyer_First", *new)]
        assert [None, None, None, None, "ADA"] == [shown[2][name] for name in ("Buyer_First", *new)]
        assert "Seller_First" in new

    def test_view_waits_for_the_table_it_refers_to(self, case):
        """It has what is there, and says what it lacks."""
        self.orders(case)
        view = self.view(
            case,
            reference("Buyer", "First"),
            reference("Nobody", "First"),
            reference("OrderId", "no", table="order", key="OrderId"),
        )

        before = case.app.warehouse.renew_view(view)
        views = self.names(case)
        self.people(case, "Ada")
        after = case.app.warehouse.renew_view(view)

        assert "shop.person is not there yet" in before[0]
        assert "shop.order has no such column" in before[0]
        assert "shop.order has no no" in before[0]
        assert [] == views
        assert "Buyer" not in after[0]
        assert "Ada" in self.shown(case)[1].values()

    def test_view_follows_the_columns_and_goes_with_the_last_name(self, case):
        """New columns come in, other names take the place of the first, and without a reference it is dropped."""
        self.people(case, "Ada", "Bob")
        self.orders(case)
        refers = reference("Buyer", "First")
        case.app.warehouse.renew_view(self.view(case, refers))
        case.loaded("delta", 7, row(4, "new", 7, Buyer=2, Added=5), table="order", types={**ORDER, "Added": pa.int16()})

        case.app.warehouse.renew_view(self.view(case, refers))
        grown = self.shown(case)[4]
        case.app.warehouse.renew_view(self.view(case, replace(refers, display=("Name",))))
        other = self.names(case)
        case.app.warehouse.renew_view(self.view(case))

        assert (5, "Bob") == (
            grown["Added"],
            next(value for name, value in grown.items() if name.startswith("Buyer_First_")),
        )
        assert "Buyer_Name" in other
        assert [] == self.names(case)

    def test_view_stands_in_the_way_of_no_type(self, case):
        """A column that others' views show and join by becomes wider, and then of another type."""
        self.people(case, "1", "2")
        case.loaded("full", 6, row(1, Buyer=1), table="order", types={"Buyer": pa.int32()})
        view = self.view(case, reference("Buyer", "First"))
        case.app.warehouse.renew_view(view)

        case.loaded("delta", 7, row(2, "new", 7, Buyer=1 << 40), table="order", types={"Buyer": pa.int64()})
        case.app.warehouse.renew_view(view)
        wide = self.shown(case)
        case.declare("First", "bigint")
        case.loaded("delta", 8, row(1, "new", 8, First=7), table="person", types={"First": pa.int64()})
        case.declare("Buyer", "text")
        case.loaded("delta", 9, row(3, "new", 9, Buyer="x"), table="order", types={"Buyer": pa.string()})
        assert [] == case.app.warehouse.renew_view(view)

        assert ("1", None) == (wide[1]["Buyer_First"], wide[2]["Buyer_First"])
        assert [7, None, None] == [self.shown(case)[n]["Buyer_First"] for n in (1, 2, 3)]

    def test_view_of_others_with_its_name_is_left_alone(self, case):
        """The names are not shown then, and that is said."""
        self.people(case, "Ada")
        self.orders(case)
        case.query('CREATE VIEW "shop"."order_named" AS SELECT 1 AS "OrderId"')

        said = case.app.warehouse.renew_view(self.view(case, reference("Buyer", "First")))
        assert [] == case.app.warehouse.renew_view(self.view(case))

        assert "something else has its name" in said[0]
        assert ["OrderId"] == self.names(case)
