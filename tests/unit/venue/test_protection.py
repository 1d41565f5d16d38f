"""Market-maker protection, one test per rule."""

from typing import Any

import pytest

from market.commands import QuoteAck, QuoteOutcome, Refusal, ResetMmp, SetMmp
from market.errors import InvalidArguments, MmpFrozen
from market.events import Event, MmpChanged, QuotesChanged, QuoteState
from market.ids import AccountId, Face, Nanos
from market.orderbook.order import CancelReason
from market.venue.venue import Applied, Venue
from tests.builders import Market, buy, mass_quote, quote, sell

MM = AccountId("MM")
WINDOW = 1_000  # nanoseconds; the market's clock moves by one per command


@pytest.fixture
def market() -> Market:
    market = Market(loans=("L1", "L2"))
    market.investor("MM", 10_000_00)
    market.investor("TAKER", 10_000_00)
    for loan_id in ("L1", "L2"):
        market.do(sell("ORIG", 10_000, 2_000_00, loan_id=loan_id))
        market.do(buy("MM", 10_000, 2_000_00, loan_id=loan_id))
    return market


def guard(market: Market, **limits: Any) -> None:
    market.do(SetMmp(account_id=MM, group="g", **{"window": WINDOW, **limits}))


def quoted(market: Market, **changed: Any) -> Applied:
    both = quote((9_700, 10_00), (9_900, 10_00)), quote((9_700, 10_00), None, "L2")
    return market.do(mass_quote(MM, *both, **{"mmp_group": "g", **changed}))


def withdrawn(applied: Applied) -> list[QuoteState]:
    states = [state for event in applied.events if isinstance(event, QuotesChanged) for state in event.quotes]
    return [state for state in states if state.cancel_reason is CancelReason.MMP]


def is_frozen(market: Market) -> bool:
    return market.venue.state.accounts[MM].guards["g"].frozen


def hit(market: Market, face: int = 1_00) -> Applied:
    return market.do(sell("ORIG", 9_700, face))


def test_the_fill_that_reaches_the_limit_withdraws_the_group_in_its_own_command(market: Market) -> None:
    guard(market, max_fills=2)
    quoted(market)
    assert withdrawn(hit(market)) == []
    applied = hit(market)
    assert {(s.loan_id, s.side.value, s.leaves) for s in withdrawn(applied)} == {
        ("L1", "buy", 8_00),
        ("L1", "sell", 10_00),
        ("L2", "buy", 10_00),
    }
    assert is_frozen(market)
    assert not market.venue.state.accounts[MM].quotes
    assert market.cash("MM")[1] == market.claim("MM")[1] == 0
    market.venue.state.check_invariants()


def test_face_counts_too(market: Market) -> None:
    guard(market, max_face=Face(5_00))
    quoted(market)
    hit(market, 4_99)
    assert not is_frozen(market)
    hit(market)
    assert is_frozen(market)


def test_fills_that_the_window_has_left_behind_do_not_count(market: Market) -> None:
    guard(market, max_fills=2)
    quoted(market)
    hit(market)
    market.at = Nanos(market.at + WINDOW - 1)
    hit(market)  # WINDOW later exactly: the first one is out
    assert not is_frozen(market)
    market.at = Nanos(market.at + WINDOW - 2)
    hit(market)
    assert is_frozen(market)


def test_one_order_that_sweeps_several_quotes_stops_at_the_limit(market: Market) -> None:
    guard(market, max_fills=2)
    for i in range(4):
        both = quote((9_700 - i, 10_00), None)
        market.do(mass_quote(MM, both, quote_set=f"s{i}", mmp_group="g"))
    market.do(buy("TAKER", 9_690, 50_00))
    applied = market.do(sell("ORIG", 9_600, 60_00))
    assert len(withdrawn(applied)) == 2
    assert market.claim("MM")[0] == 2_020_00, "two fills of 10.00"
    assert market.claim("TAKER")[0] == 40_00, "the next in the book"
    market.venue.state.check_invariants()


def test_a_frozen_group_takes_no_quotes_until_it_is_reset(market: Market) -> None:
    guard(market, max_fills=1)
    quoted(market)
    hit(market)
    with pytest.raises(MmpFrozen):
        quoted(market)
    quoted(market, mmp_group="other", quote_set="o")
    quoted(market, mmp_group=None, quote_set="n")
    guard(market, max_fills=5)
    with pytest.raises(MmpFrozen):
        quoted(market)
    market.do(ResetMmp(account_id=MM, group="g"))
    quoted(market)
    assert len(market.venue.state.accounts[MM].quotes) == 9


def test_a_quote_that_trades_on_arrival_counts_and_stops_the_rest_of_its_frame(market: Market) -> None:
    guard(market, max_fills=2)
    for price in (9_600, 9_610, 9_620):
        market.do(sell("ORIG", price, 1_00))
    applied = quoted(market)
    assert isinstance(applied.result, QuoteAck)
    first, second = applied.result.quotes
    assert first.bid is True
    for refused in (first.ask, second.bid):
        assert isinstance(refused, Refusal)
        assert refused.error == "MmpFrozen"
    assert market.claim("MM")[0] == 2_002_00, "the third sell order was not taken"
    assert [(s.side.value, s.leaves) for s in withdrawn(applied)] == [("buy", 8_00)]
    market.venue.state.check_invariants()


def test_a_former_quote_that_its_frame_could_not_move_is_gone_with_the_group(market: Market) -> None:
    quoted(market)
    guard(market, max_fills=1)
    market.do(sell("ORIG", 9_750, 1_00))
    moved = quote((9_760, 10_00), (9_900, 10_00)), quote((9_600, 10_00), None, "L2")
    applied = market.do(mass_quote(MM, *moved, mmp_group="g"))
    assert isinstance(applied.result, QuoteAck)
    assert applied.result.quotes[0] == QuoteOutcome(True, True), "the ask stood as it was when it was judged"
    assert {s.loan_id for s in withdrawn(applied)} == {"L1", "L2"}
    assert not market.venue.state.accounts[MM].quotes


def test_other_groups_and_orders_are_none_of_it(market: Market) -> None:
    guard(market, max_fills=1)
    quoted(market, quote_set="o", mmp_group=None)
    market.do(buy("MM", 9_700, 1_00))
    hit(market, 11_00)
    assert not is_frozen(market)
    assert len(market.venue.state.accounts[MM].quotes) == 2


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"max_fills": 0},
        {"max_face": Face(0)},
        {"max_fills": -1, "max_face": Face(1)},
        {"max_fills": 1, "window": 0},
        {"max_fills": 1, "window": 3_600 * 10**9 + 1},
    ],
)
def test_limits_make_sense(market: Market, limits: Any) -> None:
    with pytest.raises(InvalidArguments):
        guard(market, **limits)


def test_only_a_group_that_there_is_can_be_reset(market: Market) -> None:
    with pytest.raises(InvalidArguments):
        market.do(ResetMmp(account_id=MM, group="g"))
    guard(market, max_fills=1)
    assert market.do(ResetMmp(account_id=MM, group="g")).events == ()


def test_limits_and_a_frozen_group_outlive_a_rebuild_and_counted_fills_do_not(market: Market) -> None:
    guard(market, max_fills=2)
    quoted(market)
    hit(market)
    of_tables: list[Event] = [event for event in market.venue.snapshot() if not isinstance(event, QuotesChanged)]
    for i, event in enumerate(of_tables):
        if isinstance(event, MmpChanged):
            assert len(event.fills) == 1
            of_tables[i] = MmpChanged(
                account_id=MM, group="g", max_fills=2, max_face=None, window=WINDOW, frozen=event.frozen
            )
    rebuilt = Venue.restore(market.venue.seq, of_tables, last_trade_id=market.venue.state.last_trade_id)
    market.venue.drop_quotes()
    assert rebuilt.state_hash() == market.venue.state_hash()
    market.venue = rebuilt
    quoted(market)
    hit(market)
    assert not is_frozen(market)
    hit(market)
    assert is_frozen(market)
    again = Venue.restore(rebuilt.seq, rebuilt.snapshot(), last_trade_id=rebuilt.state.last_trade_id)
    assert again.state.accounts[MM].guards["g"].frozen
