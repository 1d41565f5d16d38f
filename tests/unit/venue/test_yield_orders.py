"""Orders by yield on the loan of builders.py: 12 % nominal, so a par price yields about 12.68 % effective."""

from datetime import date

import pytest

from market.claims.accrual import accrued
from market.claims.loan import LoanStatus
from market.claims.yields import remaining_flows, yield_at_price
from market.commands import Mode, PlaceOrder, RollDay, SetMode
from market.errors import InvalidArguments, InvalidPrice, PriceOutOfBand, YieldFloor
from market.ids import PriceBp
from market.orderbook.order import CancelReason, ExecType, Order, OrderType
from market.venue.venue import Applied, Venue
from tests.builders import LOAN, Market, amend, buy, cancel, sell, service, servicing
from tests.unit.venue.test_servicing import DUE, LEVEL, ServicedMarket, cancel_reasons, rows_of

PPM = 1_000_000


def by_yield(make: object, account: str, ppm: int, quantity: int, **changed: object) -> PlaceOrder:
    order: PlaceOrder = make(  # type: ignore[operator]
        account, None, quantity, order_type=OrderType.YIELD, limit_yield_ppm=ppm, **changed
    )
    return order


@pytest.fixture
def market() -> ServicedMarket:
    return ServicedMarket()


def only_order(market: Market) -> Order:
    [order] = market.venue.state.orders.values()
    return order


def yield_at(market: Market, price: int) -> float:
    loan, today = market.venue.state.loans[LOAN], market.venue.state.today
    row = loan.next_instalment
    assert row is not None
    now = accrued(loan.terms, row, loan.schedule.period_start(loan.schedule.paid), loan.outstanding, today, flat=False)
    found = yield_at_price(
        remaining_flows(loan.schedule, today), PriceBp(price), accrued=now, outstanding=loan.outstanding
    )
    assert found is not None
    return found


@pytest.mark.parametrize("ppm", [100_000, 126_825, 140_000, 200_001])
def test_the_price_honours_the_yield_to_the_tick(market: ServicedMarket, ppm: int) -> None:
    market.do(by_yield(buy, "C", ppm, 100_00, pegged=False))
    bid = only_order(market)
    assert yield_at(market, bid.price) >= ppm / PPM > yield_at(market, bid.price + 1)
    market.do(cancel("C", bid.order_id))
    market.do(by_yield(sell, "A", ppm, 100_00))
    ask = only_order(market)
    assert yield_at(market, ask.price) <= ppm / PPM < yield_at(market, ask.price - 1)


def test_it_trades_like_the_limit_order_that_it_is(market: ServicedMarket) -> None:
    market.do(sell("A", 9_900, 100_00))
    assert yield_at(market, 9_900) > 0.13
    market.do(by_yield(buy, "C", 130_000, 100_00))
    assert market.claim("C") == (100_00, 0)
    assert not market.orders


def test_a_yield_below_the_floor_or_out_of_band_is_refused(market: ServicedMarket) -> None:
    with pytest.raises(YieldFloor):
        market.do(by_yield(buy, "C", -10_000, 100_00))
    with pytest.raises(PriceOutOfBand) as refused:
        market.do(by_yield(sell, "A", 90 * PPM, 100_00))
    assert refused.value.field == "limit_yield"


def test_a_flat_loan_has_no_yield(market: ServicedMarket) -> None:
    market.roll(date(2024, 3, 15))
    assert market.loan.status is LoanStatus.LATE
    with pytest.raises(InvalidPrice):
        market.do(by_yield(buy, "C", 140_000, 100_00))


def test_a_price_can_not_be_given_to_an_order_by_yield(market: ServicedMarket) -> None:
    market.do(by_yield(buy, "C", 140_000, 100_00))
    with pytest.raises(InvalidArguments):
        market.do(amend("C", only_order(market).order_id, price=PriceBp(9_000)))
    market.do(amend("C", only_order(market).order_id, quantity=50_00))
    assert only_order(market).leaves == 50_00


def test_only_a_pegged_order_follows_its_yield(market: ServicedMarket) -> None:
    market.do(by_yield(buy, "C", 140_000, 100_00))
    market.do(by_yield(buy, "C", 140_000, 100_00, pegged=True))
    plain, pegged = market.orders
    before = plain.price
    assert pegged.price == before
    market.roll(date(2024, 2, 10))
    assert plain.price == before != pegged.price
    assert yield_at(market, pegged.price) >= 0.14 > yield_at(market, pegged.price + 1)
    assert pegged.version > 1
    market.service("prepayment", date(2024, 2, 10))
    assert not market.orders


def test_a_peg_keeps_its_place_while_its_price_stays(market: ServicedMarket) -> None:
    """At the loan's own rate the price is par on a due date, before the payment of it as after."""
    market.do(by_yield(buy, "C", 126_000, 100_00, pegged=True))
    order, first_priority = only_order(market), only_order(market).priority
    seen = {order.price: order.priority}
    for day in range(16, 31):
        market.roll(date(2024, 1, day))
        if order.price in seen and list(seen)[-1] == order.price:
            assert order.priority == seen[order.price]
        seen.pop(order.price, None)
        seen[order.price] = order.priority
    assert order.priority > first_priority
    assert len(seen) < 15  # on some days it did not move


def test_a_peg_that_moves_joins_the_back(market: ServicedMarket) -> None:
    market.do(by_yield(buy, "C", 140_000, 100_00, pegged=True))
    pegged = only_order(market)
    target = 0
    for _ in range(2):  # once to learn where it will go, once with somebody waiting there
        other = Venue.restore(market.venue.seq, market.venue.snapshot(), last_trade_id=market.venue.state.last_trade_id)
        other.apply(market.venue.seq + 1, market.at, RollDay(to=date(2024, 1, 25)))  # type: ignore[arg-type]
        target = other.state.orders[pegged.order_id].price
    assert target != pegged.price
    market.do(buy("A", target, 100_00))
    market.roll(date(2024, 1, 25))
    market.do(sell("B", target, 100_00))
    assert market.claim("A")[0] == 1_100_00  # the one who was there first
    assert market.orders == [pegged]


def test_pegs_that_come_to_cross_trade_and_leave_no_crossed_book(market: ServicedMarket) -> None:
    """Day by day the bid's price rises towards par and the plain ask stands in its way."""
    market.do(by_yield(buy, "C", 140_000, 100_00, pegged=True))
    bid = only_order(market)
    market.do(sell("A", bid.price + 2, 60_00))
    while bid.filled == 0:
        market.do(RollDay(to=date.fromordinal(market.venue.state.today.toordinal() + 1)))
        market.venue.state.check_invariants()
        assert market.venue.state.today < date(2024, 2, 15)
    assert (bid.filled, bid.leaves) == (60_00, 40_00)


def test_a_post_only_peg_stops_one_tick_short(market: ServicedMarket) -> None:
    market.do(by_yield(buy, "C", 140_000, 100_00, pegged=True, post_only=True))
    bid = only_order(market)
    ask = bid.price + 2
    market.do(sell("A", ask, 60_00))
    market.roll(date(2024, 2, 12))
    assert (bid.price, bid.filled) == (ask - 1, 0)


def test_a_peg_does_not_trade_in_a_halted_market_but_when_it_opens(market: ServicedMarket) -> None:
    market.do(by_yield(buy, "C", 140_000, 100_00, pegged=True))
    bid = only_order(market)
    market.do(sell("A", bid.price + 2, 60_00))
    market.do(SetMode(mode=Mode.HALTED))
    market.roll(date(2024, 2, 12))
    assert bid.filled == 0
    market.do(SetMode(mode=Mode.OPEN))
    assert bid.filled == 60_00
    market.venue.state.check_invariants()


def test_pegs_of_both_sides_move_at_once_without_meeting_halfway(market: ServicedMarket) -> None:
    """Both follow the same curve: as the bid was below the ask, so it stays, however far both move."""
    for ppm in (141_000, 140_000, 139_000):
        market.do(by_yield(buy, "C", ppm, 100_00, pegged=True))
    for ppm in (137_000, 136_000):
        market.do(by_yield(sell, "A", ppm, 100_00, pegged=True))
    market.pay(2)
    assert len(market.orders) == 5
    assert all(order.filled == 0 for order in market.orders)
    market.venue.state.check_invariants()


def test_a_peg_is_told_as_restated_and_reheld(market: ServicedMarket) -> None:
    market.do(by_yield(buy, "C", 140_000, 1_000_00, pegged=True))
    order = only_order(market)
    market.roll(DUE[0])
    applied = market.service("payment", DUE[0], LEVEL)
    [row] = rows_of(applied)
    assert (row.exec_type, row.order.hold, row.order.pegged) == (ExecType.RESTATED, order.hold, True)
    assert market.cash("C")[1] == order.hold


def test_a_peg_without_a_yield_ends(market: ServicedMarket) -> None:
    market.do(by_yield(buy, "C", 140_000, 100_00, pegged=True))
    applied: Applied = market.do(RollDay(to=date(2024, 3, 15)))
    assert cancel_reasons(applied)[-1] is CancelReason.RULE
    assert not market.orders


def test_a_peg_that_can_not_be_paid_any_more_ends(market: ServicedMarket) -> None:
    cash = market.cash("C")[0]
    market.do(by_yield(buy, "C", 300_000, 1_000_00, pegged=True))
    order = only_order(market)
    market.do(buy("C", 9_000, (cash - order.hold) * 10_000 // 9_100 // 100 * 100))
    applied = market.do(RollDay(to=date(2024, 2, 14)))
    assert CancelReason.FUNDS in cancel_reasons(applied)
    market.venue.state.check_invariants()


def test_orders_by_yield_survive_a_rebuild(market: ServicedMarket) -> None:
    market.do(by_yield(buy, "C", 140_000, 100_00, pegged=True))
    market.do(by_yield(sell, "A", 120_000, 100_00))
    venue = market.venue
    other = Venue.restore(venue.seq, venue.snapshot(), last_trade_id=venue.state.last_trade_id)
    assert other.state_hash() == venue.state_hash()
    roll = RollDay(to=date(2024, 2, 1))
    for each in (venue, other):
        each.apply(venue.seq + 1 if each is venue else other.seq + 1, market.at, roll)  # type: ignore[arg-type]
    assert other.state_hash() == venue.state_hash()


def test_two_servicing_events_in_one_command_move_a_peg_in_order(market: ServicedMarket) -> None:
    market.do(by_yield(buy, "C", 140_000, 100_00, pegged=True))
    market.roll(DUE[0])
    market.do(service(servicing("payment", DUE[0], 400_00), servicing("payment", DUE[0], LEVEL - 400_00)))
    order = only_order(market)
    assert yield_at(market, order.price) >= 0.14 > yield_at(market, order.price + 1)
