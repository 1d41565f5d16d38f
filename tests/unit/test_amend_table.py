"""The table "what an amend keeps" of docs/order_lifecycle.md, each row as the venue does it."""

import re
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from market.commands import HaltLoan, OrderAck
from market.errors import MarketError
from market.orderbook.order import OrderType, Side
from tests.builders import LOAN, amend, buy, sell
from tests.unit.venue.test_servicing import ServicedMarket

PAGE = Path(__file__).resolve().parents[2] / "docs" / "order_lifecycle.md"
SECTION = PAGE.read_text().split("## Priority")[1].split("## ")[0]
ROWS = dict(re.findall(r"^\| ([^|]+?) \| (kept|lost|refused)", SECTION, re.MULTILINE))


class Queue(ServicedMarket):
    """A bid of 100.00 at 97.00, with another behind it at the same price."""

    def __init__(self, **changed: object) -> None:
        super().__init__()
        self.first = self.placed(buy("C", 9_700, 100_00, **changed))
        self.placed(buy("A", 9_700, 100_00))

    def placed(self, command: object) -> int:
        ack = self.do(command).result  # type: ignore[arg-type]
        assert isinstance(ack, OrderAck)
        return ack.order_id

    def amended(self, **changed: object) -> str:
        ack = self.do(amend("C", self.first, **changed)).result
        assert isinstance(ack, OrderAck)
        is_first = self.price_of(self.first) == 9_700 and self.stands_first()
        assert ack.priority_kept is is_first, "the answer says what the book does"
        return "kept" if ack.priority_kept else "lost"

    def price_of(self, order_id: int) -> int:
        return self.venue.state.orders[order_id].price  # type: ignore[index]

    def stands_first(self) -> bool:
        return next(iter(self.venue.state.loans[LOAN].book.orders(Side.BUY))).order_id == self.first


def by_yield() -> str:
    market = ServicedMarket()
    ack = market.do(buy("C", None, 100_00, order_type=OrderType.YIELD, limit_yield_ppm=140_000)).result
    assert isinstance(ack, OrderAck)
    with pytest.raises(MarketError, match="cancel it"):
        market.do(amend("C", ack.order_id, price=9_800))
    return "refused"


def peg() -> str:
    """On a day that leaves its price as it is, it keeps its place; on one that moves it, it does not."""
    market = ServicedMarket()
    market.do(buy("C", None, 100_00, order_type=OrderType.YIELD, limit_yield_ppm=140_000, pegged=True))
    [order] = market.orders
    places = [(order.price, order.priority)]
    for day in range(16, 31):
        market.roll(date(2024, 1, day))
        places.append((order.price, order.priority))
    same = [before[1] == after[1] for before, after in pairwise(places) if before[0] == after[0]]
    moved = [before[1] == after[1] for before, after in pairwise(places) if before[0] != after[0]]
    assert same
    assert moved
    assert all(same)
    assert not any(moved)
    return "kept"


def iceberg() -> str:
    market = Queue(display_quantity=10_00)
    market.do(sell("ORIG", 9_700, 10_00))
    assert not market.stands_first()
    return "lost"


def halt() -> str:
    market = Queue()
    market.do(HaltLoan(loan_id=LOAN, halted=True))
    market.do(HaltLoan(loan_id=LOAN, halted=False))
    assert market.stands_first()
    return "kept"


CASES: dict[str, Callable[[], str]] = {
    "less `order_qty`, same price": lambda: Queue().amended(quantity=50_00),
    "the same price and quantity": lambda: Queue().amended(quantity=100_00, price=9_700),
    "more `order_qty`": lambda: Queue().amended(quantity=150_00),
    "another `limit_price`": lambda: Queue().amended(price=9_701),
    "less `order_qty` and another price": lambda: Queue().amended(quantity=50_00, price=9_699),
    "an order by yield: another price": by_yield,
    "a peg that the market moved": peg,
    "an iceberg's next slice": iceberg,
    "a halt and its end": halt,
}


def test_every_row_has_a_case() -> None:
    assert CASES.keys() == ROWS.keys()


@pytest.mark.parametrize("row", CASES)
def test_the_venue_does_as_the_row_says(row: str) -> None:
    assert CASES[row]() == ROWS[row]
