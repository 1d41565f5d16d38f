"""Mass quotes, one test per rule."""

from datetime import date
from typing import Any

import pytest

from market import errors
from market.commands import (
    AssignRulebook,
    CancelAll,
    CancelQuotes,
    CountAck,
    ExpireOrders,
    FreezeAccount,
    HaltLoan,
    Mode,
    OrderAck,
    QuoteAck,
    QuoteOutcome,
    Refusal,
    RollDay,
    SetMode,
    Withdraw,
)
from market.errors import MarketError
from market.events import CashChanged, Event, Executed, OpenOrder, QuotesChanged, QuoteState, Traded
from market.ids import FIRST_QUOTE_ID, AccountId, Currency, LoanId, Minor, Nanos
from market.orderbook.order import CancelReason, ExecType, OrderStatus, SelfTradePrevention, Side
from market.venue.venue import Applied, Venue
from tests.builders import LOAN, Market, buy, cancel, mass_quote, quote, sell, service, servicing

MM = AccountId("MM")
HOUR = 3_600 * 10**9  # in nanoseconds


@pytest.fixture
def market() -> Market:
    """A market-maker with 5,000.00 and 5,000.00 of face, a taker with 5,000.00 and what the originator holds."""
    market = Market(loans=("L1", "L2"))
    for account_id in ("MM", "TAKER"):
        market.investor(account_id, 10_000_00)
    for loan_id in ("L1", "L2"):
        market.do(sell("ORIG", 10_000, 2_000_00, loan_id=loan_id))
        market.do(buy("MM", 10_000, 2_000_00, loan_id=loan_id))
    return market


def outcomes(applied: Applied) -> list[QuoteOutcome]:
    assert isinstance(applied.result, QuoteAck)
    return list(applied.result.quotes)


def refusal(outcome: Refusal | bool | None) -> type[MarketError]:
    assert isinstance(outcome, Refusal), outcome
    return type(outcome.to_error())


def told(applied: Applied) -> list[QuoteState]:
    return [state for event in applied.events if isinstance(event, QuotesChanged) for state in event.quotes]


def best(market: Market, loan_id: str = LOAN) -> tuple[Any, Any]:
    book = market.venue.state.loans[LoanId(loan_id)].book
    bids, asks = book.levels(Side.BUY), book.levels(Side.SELL)
    return (bids[0] if bids else None), (asks[0] if asks else None)


def standing(market: Market, account_id: str = MM) -> list[tuple[str, str, int, int]]:
    quotes = market.venue.state.accounts[AccountId(account_id)].quotes.values()
    return sorted((order.loan_id, order.side.value, order.price, order.leaves) for order in quotes)


class TestStanding:
    def test_a_quote_stands_in_both_books_and_reserves_like_orders(self, market: Market) -> None:
        applied = market.do(mass_quote(MM, quote((9_700, 100_00), (9_900, 50_00)), quote((9_600, 10_00), None, "L2")))
        assert outcomes(applied) == [QuoteOutcome(True, True), QuoteOutcome(True, None)]
        assert isinstance(applied.result, QuoteAck)
        assert applied.result.accepted == 3
        assert best(market) == ((9_700, 100_00), (9_900, 50_00))
        assert best(market, "L2") == ((9_600, 10_00), None)
        assert market.claim("MM") == (2_000_00, 50_00)
        assert market.cash("MM")[1] == 97_00 + 1_00 + 9_60 + 10, "price and a month's interest at 1 %"
        assert [type(event) for event in applied.events if isinstance(event, Executed | OpenOrder)] == []
        assert not market.venue.state.accounts[MM].orders
        market.venue.state.check_invariants()

    def test_a_quote_replaces_the_former_one_in_its_loan_and_set(self, market: Market) -> None:
        market.do(mass_quote(MM, quote((9_700, 100_00), (9_900, 50_00))))
        market.do(mass_quote(MM, quote((9_600, 10_00), None), quote_set="other"))
        applied = market.do(mass_quote(MM, quote((9_710, 20_00), None)))
        assert {(s.side, s.status, s.price) for s in told(applied)} == {
            (Side.BUY, OrderStatus.NEW, 9_710),
            (Side.SELL, OrderStatus.CANCELED, 9_900),
        }
        assert standing(market) == [("L1", "buy", 9_600, 10_00), ("L1", "buy", 9_710, 20_00)]
        assert market.claim("MM")[1] == 0

    def test_quantity_zero_withdraws_a_side(self, market: Market) -> None:
        market.do(mass_quote(MM, quote((9_700, 100_00), (9_900, 50_00))))
        applied = market.do(mass_quote(MM, quote((9_700, 0), (9_900, 50_00))))
        assert outcomes(applied) == [QuoteOutcome(None, True)]
        assert best(market) == (None, (9_900, 50_00))
        assert market.cash("MM")[1] == 0

    def test_the_same_price_with_no_more_quantity_keeps_its_place(self, market: Market) -> None:
        market.do(mass_quote(MM, quote((9_700, 100_00), None)))
        market.do(buy("TAKER", 9_700, 100_00))
        market.do(mass_quote(MM, quote((9_700, 60_00), None)))
        market.do(sell("ORIG", 9_700, 70_00))
        assert standing(market) == []
        assert best(market)[0] == (9_700, 90_00)

    @pytest.mark.parametrize("wanted", [(9_700, 101_00), (9_701, 100_00)], ids=["more of it", "another price"])
    def test_more_quantity_or_another_price_joins_the_back(self, market: Market, wanted: tuple[int, int]) -> None:
        market.do(mass_quote(MM, quote((9_700, 100_00), None)))
        market.do(buy("TAKER", wanted[0], 100_00))
        market.do(mass_quote(MM, quote(wanted, None)))
        market.do(sell("ORIG", 9_700, 100_00))
        assert standing(market) == [("L1", "buy", *wanted)]

    def test_what_is_repeated_word_by_word_changes_nothing(self, market: Market) -> None:
        command = mass_quote(MM, quote((9_700, 100_00), (9_900, 50_00)))
        market.do(command)
        applied = market.do(command)
        assert outcomes(applied) == [QuoteOutcome(True, True)]
        assert applied.events == ()

    def test_a_fill_then_the_quantity_asked_for_is_what_is_open(self, market: Market) -> None:
        market.do(mass_quote(MM, quote((9_700, 100_00), None)))
        market.do(sell("ORIG", 9_700, 30_00))
        market.do(mass_quote(MM, quote((9_700, 100_00), None)))
        assert standing(market) == [("L1", "buy", 9_700, 100_00)]
        [state] = market.venue.state.accounts[MM].quotes.values()
        assert (state.quantity, state.filled, state.status) == (130_00, 30_00, OrderStatus.PARTIALLY_FILLED)
        market.venue.state.check_invariants()


class TestOneFrame:
    def test_a_new_bid_does_not_meet_the_old_ask(self, market: Market) -> None:
        market.do(mass_quote(MM, quote((9_700, 100_00), (9_800, 50_00))))
        assert outcomes(market.do(mass_quote(MM, quote((9_850, 100_00), (9_950, 50_00))))) == [QuoteOutcome(True, True)]
        assert best(market) == ((9_850, 100_00), (9_950, 50_00))
        assert market.venue.state.last_trade_id == 2, "nothing traded"

    def test_what_one_quote_frees_covers_the_next(self, market: Market) -> None:
        rest = market.cash("MM")[0] - 20_00
        market.do(Withdraw(account_id=MM, currency=Currency("USD"), amount=Minor(rest), custody_ref="w"))
        market.do(mass_quote(MM, quote((9_000, 1_00), None), quote((9_000, 20_00), None, "L2")))
        swapped = mass_quote(MM, quote((9_000, 20_00), None), quote((9_000, 1_00), None, "L2"))
        assert outcomes(market.do(swapped)) == [QuoteOutcome(True, None)] * 2

    def test_a_bid_at_its_own_ask_is_a_self_trade(self, market: Market) -> None:
        applied = market.do(mass_quote(MM, quote((9_800, 100_00), (9_800, 50_00))))
        bid, ask = outcomes(applied)[0]
        assert bid is True
        assert refusal(ask) is errors.SelfTrade
        assert market.claim("MM")[1] == 0

    def test_a_side_that_is_refused_leaves_no_former_one_behind(self, market: Market) -> None:
        market.do(mass_quote(MM, quote((9_700, 100_00), (9_900, 50_00))))
        applied = market.do(mass_quote(MM, quote((9_700, 100_00), (9_910, 3_000_00))))
        bid, ask = outcomes(applied)[0]
        assert bid is True
        assert refusal(ask) is errors.InsufficientClaims
        assert isinstance(ask, Refusal)
        assert (ask.field, dict(ask.details)) == ("ask_qty", {"have": 2_000_00, "need": 3_000_00})
        assert standing(market) == [("L1", "buy", 9_700, 100_00)]
        assert [(s.status, s.cancel_reason) for s in told(applied)] == [(OrderStatus.CANCELED, CancelReason.USER)]

    @pytest.mark.parametrize(
        ("bid", "error"),
        [
            pytest.param((0, 1_00), errors.InvalidPrice, id="no price"),
            pytest.param((30_000, 1_00), errors.PriceOutOfBand, id="out of band"),
            pytest.param((9_700, -1), errors.InvalidQuantity, id="no quantity"),
            pytest.param((9_700, 99), errors.BelowMinimum, id="too small"),
            pytest.param((12_000, 1_00), errors.YieldFloor, id="below the yield floor"),
            pytest.param((9_700, 90_000_00), errors.InsufficientFunds, id="too dear"),
        ],
    )
    def test_each_side_obeys_the_rules_of_orders(
        self, market: Market, bid: tuple[int, int], error: type[MarketError]
    ) -> None:
        applied = market.do(mass_quote(MM, quote(bid, (12_100, 1_00)), quote((9_700, 1_00), None, "L2")))
        first, second = outcomes(applied)
        assert refusal(first.bid) is error
        assert second == QuoteOutcome(True, None)
        with pytest.raises(error):
            market.do(buy("MM", *bid))

    def test_an_unknown_loan_is_the_matter_of_its_own_quote(self, market: Market) -> None:
        applied = market.do(mass_quote(MM, quote((9_700, 1_00), None, "X"), quote((9_700, 1_00), None)))
        assert refusal(outcomes(applied)[0].bid) is errors.UnknownLoan
        assert outcomes(applied)[1] == QuoteOutcome(True, None)

    def test_a_frame_of_refusals_changes_nothing(self, market: Market) -> None:
        before = market.venue.state_hash()
        assert market.do(mass_quote(MM, quote((0, 1_00), (9_800, 9_000_00)))).events == ()
        assert market.venue.state_hash() == before

    @pytest.mark.parametrize("quotes", [(), (quote(None, None),) * 501, (quote(None, None),) * 2])
    def test_a_frame_has_from_1_to_500_quotes_each_of_another_loan(self, market: Market, quotes: Any) -> None:
        with pytest.raises(errors.InvalidArguments):
            market.do(mass_quote(MM, *quotes))


class TestTrading:
    def test_a_quote_trades_on_arrival_at_the_makers_price_and_the_rest_stands(self, market: Market) -> None:
        market.do(sell("ORIG", 9_650, 40_00))
        applied = market.do(mass_quote(MM, quote((9_700, 100_00), None)))
        [trade] = [event for event in applied.events if isinstance(event, Traded)]
        assert (trade.price, trade.quantity, trade.buyer) == (9_650, 40_00, MM)
        assert trade.buy_order_id >= FIRST_QUOTE_ID
        assert best(market)[0] == (9_700, 60_00)
        market.venue.state.check_invariants()

    def test_only_trades_of_a_quote_are_executions(self, market: Market) -> None:
        market.do(mass_quote(MM, quote((9_700, 100_00), None)))
        applied = market.do(sell("ORIG", 9_600, 100_00))
        [message] = [event for event in applied.events if isinstance(event, Executed) and event.account_id == MM]
        assert [(row.exec_type, row.order.status) for row in message.rows] == [(ExecType.TRADE, OrderStatus.FILLED)]
        assert [(s.status, s.leaves) for s in told(applied)] == [(OrderStatus.FILLED, 0)]
        assert standing(market) == []

    def test_a_quote_that_would_meet_its_own_owners_order_is_refused(self, market: Market) -> None:
        market.do(sell("MM", 9_700, 10_00))
        applied = market.do(mass_quote(MM, quote((9_700, 10_00), None)))
        assert refusal(outcomes(applied)[0].bid) is errors.SelfTrade
        assert applied.events == ()

    def test_an_order_that_meets_its_owners_quote_decides_by_its_own_prevention(self, market: Market) -> None:
        market.do(mass_quote(MM, quote((9_700, 100_00), None)))
        applied = market.do(sell("MM", 9_700, 30_00, stp=SelfTradePrevention.DECREMENT))
        assert [(s.leaves, s.status) for s in told(applied)] == [(70_00, OrderStatus.NEW)]
        applied = market.do(sell("MM", 9_700, 30_00, stp=SelfTradePrevention.CANCEL_OLDEST))
        assert [s.cancel_reason for s in told(applied)] == [CancelReason.STP]
        assert standing(market) == []
        market.venue.state.check_invariants()

    def test_a_quotes_id_is_of_no_order_that_can_be_cancelled(self, market: Market) -> None:
        [state] = told(market.do(mass_quote(MM, quote((9_700, 100_00), None))))
        with pytest.raises(errors.UnknownOrder):
            market.do(cancel("MM", state.order_id))


class TestEnding:
    @pytest.fixture(autouse=True)
    def quoted(self, market: Market) -> None:
        market.do(mass_quote(MM, quote((9_700, 10_00), (9_900, 10_00)), quote((9_700, 10_00), None, "L2")))
        market.do(mass_quote(MM, quote((9_650, 10_00), None), quote_set="r", connection="c-2", session="s2"))
        market.do(buy("MM", 9_600, 10_00, tag="t"))

    @pytest.mark.parametrize(
        ("filters", "left"),
        [
            ({}, 0),
            ({"loan_ids": (LoanId("L2"),)}, 3),
            ({"loan_ids": ()}, 4),
            ({"quote_set": "r"}, 3),
            ({"connection": "c-1"}, 1),
            ({"connection": "c-1", "quote_set": "r"}, 4),
        ],
    )
    def test_quotes_are_withdrawn_by_what_they_are(self, market: Market, filters: Any, left: int) -> None:
        applied = market.do(CancelQuotes(account_id=MM, **filters))
        assert applied.result == CountAck(count=0, quotes=4 - left)
        assert len(standing(market)) == left
        assert len(market.venue.state.accounts[MM].orders) == 1

    @pytest.mark.parametrize(
        ("filters", "orders", "quotes"),
        [
            ({}, 1, 4),
            ({"side": Side.SELL}, 0, 1),
            ({"loan_id": LOAN}, 1, 3),
            ({"session": "s2"}, 0, 1),
            ({"tag": "t"}, 1, 0),
            ({"cancel_on_disconnect": True}, 0, 0),
        ],
    )
    def test_cancel_all_takes_quotes_along(self, market: Market, filters: Any, orders: int, quotes: int) -> None:
        assert market.do(CancelAll(account_id=MM, **filters)).result == CountAck(count=orders, quotes=quotes)
        market.venue.state.check_invariants()

    def test_the_kill_switch_withdraws_them_and_lets_none_in(self, market: Market) -> None:
        applied = market.do(CancelAll(account_id=MM, block=True))
        assert {s.cancel_reason for s in told(applied)} == {CancelReason.KILL_SWITCH}
        with pytest.raises(errors.KillSwitch):
            market.do(mass_quote(MM, quote((9_700, 10_00), None)))

    def test_a_frozen_account_has_none_and_quotes_none(self, market: Market) -> None:
        market.do(FreezeAccount(account_id=MM, frozen=True))
        assert standing(market) == []
        with pytest.raises(errors.AccountFrozen):
            market.do(mass_quote(MM, quote((9_700, 10_00), None)))

    def test_a_halt_suspends_them_and_they_may_be_withdrawn_but_not_moved(self, market: Market) -> None:
        applied = market.do(HaltLoan(loan_id=LOAN, halted=True, reason="news"))
        assert {s.status for s in told(applied)} == {OrderStatus.SUSPENDED}
        outcome = outcomes(market.do(mass_quote(MM, quote((9_710, 10_00), (9_900, 10_00)))))[0]
        assert (refusal(outcome.bid), refusal(outcome.ask)) == (errors.LoanHalted, errors.LoanHalted)
        applied = market.do(HaltLoan(loan_id=LOAN, halted=False))
        assert [(s.status, s.price) for s in told(applied)] == [(OrderStatus.NEW, 9_650)]

    def test_no_quote_comes_in_while_the_market_only_cancels(self, market: Market) -> None:
        market.do(SetMode(mode=Mode.CANCEL_ONLY))
        assert refusal(outcomes(market.do(mass_quote(MM, quote((9_700, 9_00), None))))[0].bid) is errors.MarketMode
        assert len(standing(market)) == 2

    def test_while_the_market_is_post_only_a_quote_may_stand_but_not_take(self, market: Market) -> None:
        market.do(SetMode(mode=Mode.OPEN))
        market.do(sell("ORIG", 9_800, 10_00, loan_id="L2"))
        market.do(SetMode(mode=Mode.POST_ONLY))
        stands, takes = quote((9_800, 9_00), None), quote((9_800, 9_00), None, "L2")
        first, second = outcomes(market.do(mass_quote(MM, stands, takes)))
        assert first.bid is True
        assert refusal(second.bid) is errors.MarketMode

    def test_a_day_and_an_event_judge_a_quote_like_an_order(self, market: Market) -> None:
        held = market.cash("MM")[1]
        market.do(RollDay(to=date(2024, 2, 15)))
        applied = market.do(service(servicing("payment", date(2024, 2, 15), 888_49)))
        assert market.cash("MM")[1] < held, "less is outstanding"
        assert any(isinstance(event, CashChanged) and event.account_id == MM for event in applied.events)
        market.venue.state.check_invariants()
        applied = market.do(service(servicing("default", date(2024, 2, 15))))
        assert {(s.loan_id, s.cancel_reason) for s in told(applied)} == {(LOAN, CancelReason.LOAN_DEFAULTED)}
        assert standing(market) == [("L2", "buy", 9_700, 10_00)]

    def test_a_quote_lives_as_long_as_the_rulebook_lets_orders_live_and_moving_it_begins_anew(
        self, market: Market
    ) -> None:
        market.do(AssignRulebook(loan_id=LoanId("L2"), rulebook="cn-strict"))
        wanted = quote((9_700, 200_00), None, "L2")
        market.do(mass_quote(MM, wanted))
        market.at = Nanos(market.at + 71 * HOUR)
        market.do(ExpireOrders())
        market.do(mass_quote(MM, wanted, quote((9_700, 10_00), (9_900, 10_00))))
        market.at = Nanos(market.at + 2 * HOUR)
        applied = market.do(ExpireOrders())
        assert [(s.loan_id, s.cancel_reason) for s in told(applied)] == [("L2", CancelReason.EXPIRED)]
        market.do(mass_quote(MM, wanted))
        market.at = Nanos(market.at + 71 * HOUR)
        market.do(mass_quote(MM, quote((9_710, 200_00), None, "L2")))
        market.at = Nanos(market.at + 2 * HOUR)
        market.do(ExpireOrders())
        assert ("L2", "buy", 9_710, 200_00) in standing(market)
        market.venue.drop_quotes()
        assert market.venue.next_expiry() is None

    def test_another_connection_that_quotes_the_same_takes_it_over(self, market: Market) -> None:
        market.do(mass_quote(MM, quote((9_650, 10_00), None), quote_set="r", connection="c-3"))
        assert market.do(CancelQuotes(account_id=MM, connection="c-2")).result == CountAck(count=0)
        assert market.do(CancelQuotes(account_id=MM, connection="c-3")).result == CountAck(count=0, quotes=1)


class TestMemory:
    def test_a_snapshot_restores_them(self, market: Market) -> None:
        market.do(mass_quote(MM, quote((9_700, 100_00), (9_900, 10_00)), mmp_group="g"))
        market.do(sell("ORIG", 9_700, 10_00))
        venue = market.venue
        again = Venue.restore(venue.seq, venue.snapshot(), last_trade_id=venue.state.last_trade_id)
        assert again.state_hash() == venue.state_hash()
        again.state.check_invariants()

    def test_dropped_they_leave_the_state_that_tables_hold(self, market: Market) -> None:
        market.do(buy("MM", 9_500, 10_00))
        market.do(mass_quote(MM, quote((9_700, 100_00), (9_900, 10_00))))
        market.do(sell("ORIG", 9_700, 10_00))
        venue = market.venue
        of_tables: list[Event] = [event for event in venue.snapshot() if not isinstance(event, QuotesChanged)]
        rebuilt = Venue.restore(venue.seq, of_tables, last_trade_id=venue.state.last_trade_id)
        venue.drop_quotes()
        venue.state.check_invariants()
        assert venue.state_hash() == rebuilt.state_hash()
        assert market.claim("MM")[1] == 0
        assert isinstance(market.do(sell("ORIG", 9_500, 10_00)).result, OrderAck)
        assert best(market) == (None, None)

    def test_ids_of_quotes_are_of_no_order(self, market: Market) -> None:
        states = told(market.do(mass_quote(MM, quote((9_700, 1_00), (9_900, 1_00)), quote((9_700, 1_00), None, "L2"))))
        ids = [state.order_id for state in states]
        assert len(set(ids)) == 3
        assert min(ids) >= FIRST_QUOTE_ID
        assert max(ids) < 2**63
