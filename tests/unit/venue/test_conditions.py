"""Orders that are only checked, and orders, amends and cancels that hold under a condition."""

from dataclasses import replace
from typing import Any

import pytest

from market.commands import CheckOrder, OrderAck, OrderPriced
from market.errors import (
    DeadlineElapsed,
    DuplicateId,
    FokUnfilled,
    InsufficientFunds,
    InvalidPrice,
    MarketError,
    StaleBook,
    VersionMismatch,
)
from market.ids import ClientOrderId, Nanos, PriceBp
from market.orderbook.depth import digest
from market.orderbook.order import OrderType, Side, TimeInForce
from tests.builders import LOAN, Market, amend, buy, cancel, sell


@pytest.fixture
def market() -> Market:
    """Offers of 100.00 at 97.00 and 200.00 at 98.00, a buyer with 5,000.00."""
    market = Market()
    market.investor("BUYER", 5_000_00)
    market.do(sell("ORIG", 9_700, 100_00))
    market.do(sell("ORIG", 9_800, 200_00))
    return market


def refused(market: Market, command: Any, error: type[MarketError]) -> None:
    before = market.venue.state_hash()
    with pytest.raises(error):
        market.do(command)
    assert market.venue.state_hash() == before


def priced(market: Market, order: Any) -> OrderPriced:
    before = market.venue.state_hash()
    applied = market.do(CheckOrder(order=order))
    assert (applied.events, market.venue.state_hash()) == ((), before)
    assert isinstance(applied.result, OrderPriced)
    return applied.result


def test_a_checked_order_is_priced_as_it_is_then_filled(market: Market) -> None:
    order = buy("BUYER", 9_800, 150_00)
    told = priced(market, order)
    assert (told.filled, told.principal, told.turnover) == (150_00, 97_00 + 49_00, 100_00 * 9_700 + 50_00 * 9_800)
    before = market.cash("BUYER")[0]
    market.do(order)
    assert before - market.cash("BUYER")[0] == told.principal + told.accrued + told.fee


def test_what_would_rest_is_not_filled_and_a_market_order_shows_its_limit(market: Market) -> None:
    assert priced(market, buy("BUYER", 9_600, 150_00)).filled == 0
    told = priced(market, replace(buy("BUYER", None, 400_00), order_type=OrderType.MARKET))
    assert (told.filled, told.price) == (300_00, 10_661), "the highest price that yields nothing"


@pytest.mark.parametrize(
    ("order", "error"),
    [
        pytest.param(buy("BUYER", 0, 1_00), InvalidPrice, id="price"),
        pytest.param(buy("BUYER", 9_800, 9_000_00), InsufficientFunds, id="funds"),
        pytest.param(buy("BUYER", 9_800, 500_00, time_in_force=TimeInForce.FOK), FokUnfilled, id="fok"),
    ],
)
def test_a_check_refuses_what_placing_refuses(market: Market, order: Any, error: type[MarketError]) -> None:
    refused(market, CheckOrder(order=order), error)
    refused(market, order, error)


def test_a_check_of_a_used_id_says_what_placing_would(market: Market) -> None:
    order = buy("BUYER", 9_600, 1_00, client_order_id=ClientOrderId("c"))
    placed = market.do(order).result
    again = market.do(CheckOrder(order=order))
    assert isinstance(placed, OrderAck)
    assert again.result == replace(placed, duplicate=True)
    refused(market, CheckOrder(order=replace(order, price=PriceBp(9_601))), DuplicateId)


def test_a_deadline_counts_from_the_moment_it_names(market: Market) -> None:
    now = market.at + 1  # of the next command
    refused(market, buy("BUYER", 9_600, 1_00, deadline=Nanos(now)), DeadlineElapsed)
    order = buy("BUYER", 9_600, 1_00, deadline=Nanos(market.at + 2), client_order_id=ClientOrderId("c"))
    placed = market.do(order).result
    assert isinstance(placed, OrderAck)
    repeat = market.do(order).result
    assert isinstance(repeat, OrderAck)
    assert repeat.duplicate, "what was placed in time is told so, however late the repeat comes"
    refused(market, amend("BUYER", placed.order_id, quantity=2_00, deadline=Nanos(market.at)), DeadlineElapsed)


def test_an_order_on_a_book_that_moved_is_refused(market: Market) -> None:
    book = market.venue.state.loans[LOAN].book
    seen = digest(book.levels(Side.BUY, 10), book.levels(Side.SELL, 10))
    market.do(buy("BUYER", 9_600, 1_00, if_book=seen))
    refused(market, buy("BUYER", 9_600, 1_00, if_book=seen), StaleBook)
    refused(market, buy("BUYER", 0, 1_00, if_book=seen), InvalidPrice)


def test_a_cancel_may_name_the_version_that_it_means(market: Market) -> None:
    placed = market.do(buy("BUYER", 9_600, 2_00)).result
    assert isinstance(placed, OrderAck)
    market.do(amend("BUYER", placed.order_id, quantity=1_00))
    refused(market, replace(cancel("BUYER", placed.order_id), if_version=1), VersionMismatch)
    market.do(replace(cancel("BUYER", placed.order_id), if_version=2))
    assert not market.venue.state.orders.get(placed.order_id)
