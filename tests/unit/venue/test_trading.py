"""The venue's rules of orders, one test per rule."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from market import errors
from market.claims.loan import LoanStatus
from market.commands import (
    CancelAll,
    ExpireOrders,
    FreezeAccount,
    HaltLoan,
    Mode,
    OrderAck,
    RollDay,
    SetMode,
)
from market.events import CashChanged, Executed, OrderState, Posted, Traded
from market.ids import AccountId, Currency, Face, LoanId, Minor, Nanos, PriceBp
from market.orderbook.order import (
    CancelReason,
    ExecType,
    OrderStatus,
    OrderType,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from market.venue.rulebook import FeeRule, Rulebook
from market.venue.venue import Applied, Venue
from tests.builders import LOAN, Market, amend, buy, cancel, register, sell


@pytest.fixture
def market() -> Market:
    """A buyer with 5,000.00 and the originator with 10,000.00 of face."""
    market = Market()
    market.investor("BUYER", 5_000_00)
    return market


def ack(applied: Applied) -> OrderAck:
    assert isinstance(applied.result, OrderAck)
    return applied.result


def rows(applied: Applied, account_id: str) -> list[tuple[ExecType, OrderState]]:
    messages = [event for event in applied.events if isinstance(event, Executed) and event.account_id == account_id]
    return [(row.exec_type, row.order) for message in messages for row in message.rows]


def refused(market: Market, command: Any) -> errors.MarketError:
    """Apply a command that must be refused, and check that it left no trace."""
    before = market.venue.state_hash()
    with pytest.raises(errors.MarketError) as refusal:
        market.do(command)
    assert market.venue.state_hash() == before
    market.venue.state.check_invariants()
    return refusal.value


class TestTrade:
    def test_a_fill_trades_at_the_makers_price_and_moves_claim_against_cash(self, market: Market) -> None:
        market.do(sell("ORIG", 9_700, 1_000_00))
        applied = market.do(buy("BUYER", 9_900, 400_00))
        assert ack(applied).order_status == "filled"
        assert market.cash("BUYER") == (5_000_00 - 388_00, 0)
        assert market.cash("ORIG") == (388_00, 0)
        assert market.claim("BUYER") == (400_00, 0)
        assert market.claim("ORIG") == (9_600_00, 600_00)
        market.venue.state.check_invariants()

    def test_the_buyer_pays_accrued_interest_pro_rata_to_the_days_of_the_period(self, market: Market) -> None:
        """10 of 31 days of the first instalment's interest of 100.00, on a tenth of the loan: 3.2258 -> 3.23."""
        market.do(RollDay(to=date(2024, 1, 25)))
        market.do(sell("ORIG", 9_700, 1_000_00))
        trade = next(e for e in market.do(buy("BUYER", 9_700, 1_000_00)).events if isinstance(e, Traded))
        assert (trade.principal, trade.accrued) == (970_00, 3_23)
        assert market.cash("BUYER")[0] == 5_000_00 - 970_00 - 3_23

    def test_a_late_loan_trades_flat(self) -> None:
        market = Market()
        market.investor("BUYER", 5_000_00)
        market.do(RollDay(to=date(2024, 3, 15)))
        assert market.venue.state.loans[LOAN].status is LoanStatus.LATE
        market.do(sell("ORIG", 9_700, 1_000_00))
        trade = next(e for e in market.do(buy("BUYER", 9_700, 1_000_00)).events if isinstance(e, Traded))
        assert trade.accrued == 0
        assert trade.ytm_ppm is None

    def test_price_then_time(self, market: Market) -> None:
        market.investor("B2", 5_000_00)
        market.investor("B3", 5_000_00)
        market.do(buy("BUYER", 9_700, 100_00))
        market.do(buy("B2", 9_800, 100_00))
        market.do(buy("B3", 9_800, 100_00))
        market.do(sell("ORIG", 9_700, 250_00))
        assert [market.claim(a)[0] for a in ("BUYER", "B2", "B3")] == [50_00, 100_00, 100_00]

    def test_one_trade_is_one_balanced_entry_and_fees_go_to_the_house(self, market: Market) -> None:
        rules = Rulebook(
            name="fees", seller_fee=FeeRule(rate_ppm=3_000), buyer_fee=FeeRule(rate_ppm=0, minimum=Minor(5))
        )
        market.venue.state.loans[LOAN].rulebook = rules
        market.do(sell("ORIG", 9_700, 1_000_00))
        applied = market.do(buy("BUYER", 9_700, 1_000_00))
        assert market.cash("HOUSE")[0] == 2_91 + 5
        assert len([e for e in applied.events if isinstance(e, Posted)]) == 1
        market.venue.state.check_invariants()

    def test_a_sellers_fee_never_exceeds_the_proceeds(self, market: Market) -> None:
        market.venue.state.loans[LOAN].rulebook = Rulebook(name="fees", seller_fee=FeeRule(minimum=Minor(50_00)))
        market.do(sell("ORIG", 9_700, 10_00))
        market.do(buy("BUYER", 9_700, 10_00))
        assert market.cash("ORIG") == (0, 0)
        assert market.cash("HOUSE")[0] == 9_70

    def test_average_cost_and_realised_result(self, market: Market) -> None:
        market.do(sell("ORIG", 9_700, 1_000_00))
        market.do(buy("BUYER", 9_700, 1_000_00))
        market.investor("B2", 5_000_00)
        market.do(buy("B2", 9_800, 500_00))
        market.do(sell("BUYER", 9_800, 500_00))
        claim = market.venue.state.accounts[AccountId("BUYER")].claims[LOAN]
        assert (claim.cost, claim.realised) == (485_00, 5_00)

    def test_an_order_filled_on_arrival_has_a_new_row_then_its_trades_in_the_next_message(self, market: Market) -> None:
        market.do(sell("ORIG", 9_700, 100_00))
        market.do(sell("ORIG", 9_701, 100_00))
        applied = market.do(buy("BUYER", 9_800, 200_00))
        messages = [e for e in applied.events if isinstance(e, Executed) and e.account_id == "BUYER"]
        assert [[row.exec_type for row in m.rows] for m in messages] == [["new"], ["trade", "trade"]]
        assert [m.sequence for m in messages] == [1, 2]
        assert [row.order.status for row in messages[1].rows] == [
            OrderStatus.PARTIALLY_FILLED,
            OrderStatus.FILLED,
        ]


class TestReservation:
    def test_a_resting_buy_holds_price_and_the_whole_periods_accrued(self, market: Market) -> None:
        market.do(buy("BUYER", 9_850, 1_000_00))
        assert market.cash("BUYER") == (5_000_00, 985_00 + 10_00)

    def test_a_resting_sale_holds_its_face(self, market: Market) -> None:
        market.do(sell("ORIG", 9_850, 1_000_00))
        assert market.claim("ORIG") == (10_000_00, 1_000_00)

    def test_what_is_held_cant_be_used_twice(self, market: Market) -> None:
        market.do(sell("ORIG", 9_850, 9_500_00))
        error = refused(market, sell("ORIG", 9_850, 500_01))
        assert isinstance(error, errors.InsufficientClaims)
        assert error.details == {"have": 500_00, "need": 500_01}
        market.do(buy("BUYER", 9_000, 5_000_00))
        assert isinstance(refused(market, buy("BUYER", 9_000, 1_000_00)), errors.InsufficientFunds)

    def test_the_hold_is_released_in_full_at_the_end_of_an_order(self, market: Market) -> None:
        order = ack(market.do(buy("BUYER", 9_850, 1_000_00)))
        market.do(sell("ORIG", 9_850, 333_33))
        market.do(cancel("BUYER", order.order_id))
        assert market.cash("BUYER")[1] == 0

    def test_a_price_improvement_is_not_held_back(self, market: Market) -> None:
        market.do(sell("ORIG", 9_000, 500_00))
        market.do(buy("BUYER", 9_850, 1_000_00))
        assert market.cash("BUYER") == (5_000_00 - 450_00, 492_50 + 5_00)

    def test_a_buyer_whose_hold_falls_short_by_a_cent_is_cancelled_not_overdrawn(self) -> None:
        market = Market(annual_rate_ppm=0)
        market.investor("BUYER", 1_51)  # two fills of 1.01 at 74.75 %: 0.754975 -> 0.75 each; as one: 1.50995 -> 1.51
        market.do(buy("BUYER", 7_475, 2_02))
        market.do(sell("ORIG", 7_475, 1_01))
        market.do(sell("ORIG", 7_475, 1_01))
        assert market.cash("BUYER") == (1, 0)
        market = Market(annual_rate_ppm=0)
        market.investor("BUYER", 1_51)  # 1.01 at 74.80 %: 0.75548 -> 0.76 each = 1.52; as one: 1.51096 -> 1.51
        market.do(buy("BUYER", 7_480, 2_02))
        market.do(sell("ORIG", 7_480, 1_01))
        applied = market.do(sell("ORIG", 7_480, 1_01))
        assert ack(applied).order_status == "new"
        assert rows(applied, "BUYER")[-1][1].cancel_reason is CancelReason.FUNDS
        assert market.cash("BUYER") == (75, 0)
        market.venue.state.check_invariants()

    def test_a_frozen_account_has_its_orders_cancelled_and_may_not_place_new_ones(self, market: Market) -> None:
        market.do(buy("BUYER", 9_000, 100_00))
        applied = market.do(FreezeAccount(account_id=AccountId("BUYER"), frozen=True))
        assert rows(applied, "BUYER")[0][1].cancel_reason is CancelReason.ADMIN
        assert market.cash("BUYER")[1] == 0
        assert isinstance(refused(market, buy("BUYER", 9_000, 100_00)), errors.AccountFrozen)


class TestKinds:
    def test_ioc_remainder_is_cancelled(self, market: Market) -> None:
        market.do(sell("ORIG", 9_700, 100_00))
        result = ack(market.do(buy("BUYER", 9_700, 300_00, time_in_force=TimeInForce.IOC)))
        assert (result.order_status, result.filled, result.cancel_reason) == ("canceled", 100_00, "ioc")
        assert not market.venue.state.accounts[AccountId("BUYER")].orders

    def test_fok_is_refused_unless_it_fills_whole(self, market: Market) -> None:
        market.do(sell("ORIG", 9_700, 100_00))
        fok = TimeInForce.FOK
        assert isinstance(refused(market, buy("BUYER", 9_700, 300_00, time_in_force=fok)), errors.FokUnfilled)
        assert ack(market.do(buy("BUYER", 9_700, 100_00, time_in_force=fok))).order_status == "filled"

    def test_minimum_quantity_is_met_at_entry_or_refused(self, market: Market) -> None:
        market.do(sell("ORIG", 9_700, 100_00))
        too_much = buy("BUYER", 9_700, 300_00, min_quantity=Face(100_01))
        assert isinstance(refused(market, too_much), errors.MinQuantityUnfilled)
        result = ack(market.do(buy("BUYER", 9_700, 300_00, min_quantity=Face(100_00))))
        assert result.order_status == "partially_filled"

    def test_post_only_never_takes(self, market: Market) -> None:
        market.do(sell("ORIG", 9_700, 100_00))
        assert isinstance(refused(market, buy("BUYER", 9_700, 1_00, post_only=True)), errors.PostOnlyCross)
        assert ack(market.do(buy("BUYER", 9_699, 1_00, post_only=True))).order_status == "new"

    def test_a_market_order_takes_to_the_collar_and_never_rests(self, market: Market) -> None:
        market.do(sell("ORIG", 9_700, 100_00))
        result = ack(market.do(buy("BUYER", None, 300_00, order_type=OrderType.MARKET)))
        assert (result.order_status, result.filled, result.cancel_reason) == ("canceled", 100_00, "ioc")

    def test_a_market_order_must_be_paid_for_in_full(self, market: Market) -> None:
        market.do(sell("ORIG", 10_000, 10_000_00))
        error = refused(market, buy("BUYER", None, 6_000_00, order_type=OrderType.MARKET))
        assert isinstance(error, errors.InsufficientFunds)

    def test_an_iceberg_shows_its_tip_and_queues_again(self, market: Market) -> None:
        market.do(sell("ORIG", 9_700, 100_00, display_quantity=Face(10_00)))
        assert market.venue.state.loans[LOAN].book.levels(Side.SELL) == [(9_700, 10_00)]
        market.do(buy("BUYER", 9_700, 25_00))
        assert market.claim("BUYER")[0] == 25_00
        assert market.venue.state.loans[LOAN].book.levels(Side.SELL) == [(9_700, 5_00)]

    def test_gtd_expires_at_its_time(self, market: Market) -> None:
        order = ack(
            market.do(buy("BUYER", 9_000, 100_00, time_in_force=TimeInForce.GTD, expire_at=Nanos(market.at + 10)))
        )
        assert market.venue.next_expiry() is not None
        assert market.do(ExpireOrders()).events == ()
        market.at = Nanos(market.at + 10)
        applied = market.do(ExpireOrders())
        assert rows(applied, "BUYER")[0][0] is ExecType.EXPIRED
        assert order.order_id not in market.venue.state.orders
        assert market.venue.next_expiry() is None

    def test_a_day_order_expires_when_the_day_rolls(self, market: Market) -> None:
        market.do(buy("BUYER", 9_000, 100_00, time_in_force=TimeInForce.DAY))
        applied = market.do(RollDay(to=date(2024, 1, 16)))
        assert rows(applied, "BUYER")[0][1].status is OrderStatus.EXPIRED

    @pytest.mark.parametrize(
        ("mode", "taker_status", "maker_leaves"),
        [
            pytest.param(SelfTradePrevention.CANCEL_NEWEST, "canceled", 100_00, id="newest"),
            pytest.param(SelfTradePrevention.CANCEL_OLDEST, "new", None, id="oldest"),
            pytest.param(SelfTradePrevention.CANCEL_BOTH, "canceled", None, id="both"),
            pytest.param(SelfTradePrevention.DECREMENT, "canceled", 60_00, id="decrement"),
        ],
    )
    def test_self_trade_prevention_never_refuses(
        self, market: Market, mode: SelfTradePrevention, taker_status: str, maker_leaves: int | None
    ) -> None:
        market.do(sell("ORIG", 9_700, 1_000_00))
        market.do(buy("BUYER", 9_700, 1_000_00))
        maker = ack(market.do(sell("BUYER", 9_800, 100_00)))
        taker = ack(market.do(buy("BUYER", 9_800, 40_00, stp=mode)))
        assert taker.order_status == taker_status
        if taker_status == "canceled":
            assert taker.cancel_reason is CancelReason.STP
        resting = market.venue.state.orders.get(maker.order_id)
        assert (None if resting is None else resting.leaves) == maker_leaves
        market.venue.state.check_invariants()

    def test_accounts_of_one_owner_group_never_trade_with_each_other(self, market: Market) -> None:
        market.investor("G1", 500_00, owner_group="g")
        market.investor("G2", 500_00, owner_group="g")
        market.do(sell("ORIG", 9_700, 100_00))
        market.do(buy("G1", 9_700, 100_00))
        market.do(sell("G1", 9_700, 100_00))
        assert ack(market.do(buy("G2", 9_700, 100_00))).cancel_reason is CancelReason.STP


class TestAmend:
    def test_quantity_down_keeps_priority(self, market: Market) -> None:
        market.investor("B2", 5_000_00)
        first = ack(market.do(buy("BUYER", 9_700, 200_00)))
        market.do(buy("B2", 9_700, 100_00))
        result = ack(market.do(amend("BUYER", first.order_id, quantity=Face(100_00))))
        assert (result.priority_kept, result.version) == (True, 2)
        market.do(sell("ORIG", 9_700, 100_00))
        assert market.claim("BUYER")[0] == 100_00

    @pytest.mark.parametrize("changed", [{"quantity": Face(201_00)}, {"price": PriceBp(9_701)}], ids=["more", "price"])
    def test_anything_else_loses_it(self, market: Market, changed: dict[str, Any]) -> None:
        first = ack(market.do(buy("BUYER", 9_700, 200_00)))
        before = market.venue.state.orders[first.order_id].priority
        result = ack(market.do(amend("BUYER", first.order_id, **changed)))
        assert result.priority_kept is False
        assert market.venue.state.orders[first.order_id].priority > before
        market.venue.state.check_invariants()

    def test_an_amended_price_may_trade_at_once(self, market: Market) -> None:
        market.do(sell("ORIG", 9_800, 50_00))
        order = ack(market.do(buy("BUYER", 9_700, 200_00)))
        result = ack(market.do(amend("BUYER", order.order_id, price=PriceBp(9_800))))
        assert (result.order_status, result.filled) == ("partially_filled", 50_00)

    def test_the_total_includes_the_filled_part(self, market: Market) -> None:
        order = ack(market.do(buy("BUYER", 9_700, 200_00)))
        market.do(sell("ORIG", 9_700, 50_00))
        refusal = refused(market, amend("BUYER", order.order_id, quantity=Face(50_00)))
        assert isinstance(refusal, errors.InvalidQuantity)
        assert refusal.details == {"rule": "filled", "bound": 50_00}
        market.do(amend("BUYER", order.order_id, quantity=Face(60_00)))
        assert market.venue.state.orders[order.order_id].leaves == 10_00

    def test_if_version_must_match(self, market: Market) -> None:
        order = ack(market.do(buy("BUYER", 9_700, 200_00)))
        error = refused(market, amend("BUYER", order.order_id, quantity=Face(100_00), if_version=2))
        assert isinstance(error, errors.VersionMismatch)

    def test_more_than_one_can_pay_is_refused_and_the_old_order_stands(self, market: Market) -> None:
        order = ack(market.do(buy("BUYER", 9_700, 5_000_00)))
        error = refused(market, amend("BUYER", order.order_id, quantity=Face(5_200_00)))
        assert isinstance(error, errors.InsufficientFunds)


class TestRefusals:
    @pytest.mark.parametrize(
        ("command", "error"),
        [
            pytest.param(buy("NOBODY", 9_700, 100_00), errors.UnknownAccount, id="account"),
            pytest.param(buy("BUYER", 9_700, 100_00, loan_id="NO"), errors.UnknownLoan, id="loan"),
            pytest.param(buy("BUYER", 0, 100_00), errors.InvalidPrice, id="zero price"),
            pytest.param(buy("BUYER", -1, 100_00), errors.InvalidPrice, id="negative price"),
            pytest.param(buy("BUYER", 15_001, 100_00), errors.PriceOutOfBand, id="above the collar"),
            pytest.param(buy("BUYER", 4_999, 100_00), errors.PriceOutOfBand, id="below the collar"),
            pytest.param(buy("BUYER", 10_700, 100_00), errors.YieldFloor, id="negative yield"),
            pytest.param(buy("BUYER", 9_700, 0), errors.InvalidQuantity, id="zero quantity"),
            pytest.param(buy("BUYER", 9_700, -5), errors.InvalidQuantity, id="negative quantity"),
            pytest.param(buy("BUYER", 9_700, 99), errors.BelowMinimum, id="below minimum face"),
            pytest.param(buy("BUYER", 9_700, 2**53), errors.InsufficientFunds, id="huge quantity"),
            pytest.param(sell("BUYER", 9_700, 100_00), errors.InsufficientClaims, id="no claims"),
            pytest.param(buy("HOUSE", 9_700, 100_00), errors.NotEligible, id="the house buys"),
            pytest.param(buy("BUYER", None, 100_00), errors.InvalidArguments, id="limit without price"),
            pytest.param(buy("BUYER", 9_700, 5_00, display_quantity=Face(5_01)), errors.InvalidQuantity, id="tip"),
            pytest.param(cancel("BUYER", 99), errors.UnknownOrder, id="unknown order"),
        ],
    )
    def test_bad_orders_leave_no_trace(self, market: Market, command: Any, error: type[errors.MarketError]) -> None:
        assert type(refused(market, command)) is error

    def test_off_tick(self, market: Market) -> None:
        market.venue.state.loans[LOAN].rulebook = Rulebook(name="coarse", tick=PriceBp(25))
        assert isinstance(refused(market, buy("BUYER", 9_701, 100_00)), errors.InvalidPrice)

    @pytest.mark.parametrize(
        ("price", "quantity", "rule", "bound"),
        [
            pytest.param(9_701, 100_00, "tick", 25, id="tick"),
            pytest.param(15_025, 100_00, "collar_pct", 15_000, id="above the collar"),
            pytest.param(4_975, 100_00, "collar_pct", 5_000, id="below the collar"),
            pytest.param(16_025, 100_00, "price_max", 16_000, id="above the band"),
            pytest.param(3_975, 100_00, "price_min", 4_000, id="below the band"),
            pytest.param(9_700, 100_01, "lot", 1_00, id="lot"),
            pytest.param(9_700, 4_00, "min_face", 5_00, id="minimum face"),
            pytest.param(5_000, 9_00, "min_consideration", 5_00, id="minimum consideration"),
        ],
    )
    def test_a_refusal_names_its_rule_and_bound(
        self, market: Market, price: int, quantity: int, rule: str, bound: int
    ) -> None:
        market.venue.state.loans[LOAN].rulebook = Rulebook(
            name="coarse",
            tick=PriceBp(25),
            price_min=PriceBp(4_000),
            price_max=PriceBp(16_000),
            lot=Face(1_00),
            min_face=Face(5_00),
            min_consideration=Minor(5_00),
        )
        details = refused(market, buy("BUYER", price, quantity)).details
        assert (details["rule"], details["bound"]) == (rule, bound)

    def test_another_accounts_order_is_unknown(self, market: Market) -> None:
        order = ack(market.do(sell("ORIG", 9_700, 100_00)))
        assert isinstance(refused(market, cancel("BUYER", order.order_id)), errors.UnknownOrder)

    def test_a_halted_loan_takes_cancels_only_and_its_orders_come_back(self, market: Market) -> None:
        first = ack(market.do(buy("BUYER", 9_700, 100_00)))
        second = ack(market.do(buy("BUYER", 9_700, 100_00)))
        applied = market.do(HaltLoan(loan_id=LOAN, halted=True, reason="news"))
        assert {state.status for _, state in rows(applied, "BUYER")} == {OrderStatus.SUSPENDED}
        assert isinstance(refused(market, sell("ORIG", 9_700, 100_00)), errors.LoanHalted)
        market.do(cancel("BUYER", first.order_id))
        applied = market.do(HaltLoan(loan_id=LOAN, halted=False))
        assert rows(applied, "BUYER")[0][1].status is OrderStatus.NEW
        assert ack(market.do(sell("ORIG", 9_700, 100_00))).order_status == "filled"
        assert second.order_id not in market.venue.state.orders

    def test_a_finished_loan_is_closed(self) -> None:
        market = Market(loans=())
        market.investor("BUYER", 100_00)
        paid_off = register(outstanding_at_registration=Minor(0))
        market.do(replace(paid_off, status=LoanStatus.REPAID))
        assert isinstance(refused(market, buy("BUYER", 9_700, 10_00)), errors.LoanClosed)

    def test_not_transferable(self) -> None:
        market = Market(transferable=False)
        market.investor("BUYER", 100_00)
        assert isinstance(refused(market, buy("BUYER", 9_700, 10_00)), errors.NotTransferable)

    @pytest.mark.parametrize("mode", [Mode.CANCEL_ONLY, Mode.HALTED])
    def test_market_modes(self, market: Market, mode: Mode) -> None:
        order = ack(market.do(buy("BUYER", 9_700, 100_00)))
        market.do(SetMode(mode=mode))
        assert isinstance(refused(market, buy("BUYER", 9_700, 100_00)), errors.MarketMode)
        assert ack(market.do(cancel("BUYER", order.order_id))).order_status == "canceled"

    def test_post_only_mode(self, market: Market) -> None:
        market.do(SetMode(mode=Mode.POST_ONLY))
        assert isinstance(refused(market, buy("BUYER", 9_700, 100_00)), errors.MarketMode)
        assert ack(market.do(buy("BUYER", 9_700, 100_00, post_only=True))).order_status == "new"

    def test_dust_never_trades_for_nothing(self) -> None:
        """0.01 of face at a factor of 0.4 would cost 0.39 cents, rounded to nothing: the resting rest is cancelled."""
        market = Market(outstanding_at_registration=Minor(4_000_00), annual_rate_ppm=0)
        market.investor("BUYER", 100_00)
        dust = ack(market.do(buy("BUYER", 9_700, 10_01)))
        market.do(sell("ORIG", 9_700, 10_00))
        applied = market.do(sell("ORIG", 9_700, 5_00))
        assert not [e for e in applied.events if isinstance(e, Traded)]
        assert rows(applied, "BUYER")[-1][1].cancel_reason is CancelReason.RULE
        assert dust.order_id not in market.venue.state.orders

    def test_too_many_open_orders(self, market: Market) -> None:
        market.venue.state.loans[LOAN].rulebook = Rulebook(name="few", max_open_orders=1)
        market.do(buy("BUYER", 9_700, 1_00))
        error = refused(market, buy("BUYER", 9_700, 1_00))
        assert isinstance(error, errors.RuleViolation)
        assert error.details["rule"] == "max_open_orders"


class TestClientOrderId:
    def test_a_repeat_returns_the_first_answer_and_changes_nothing(self, market: Market) -> None:
        first = ack(market.do(buy("BUYER", 9_700, 100_00, client_order_id="c1")))
        market.do(sell("ORIG", 9_700, 100_00))
        applied = market.do(buy("BUYER", 9_700, 100_00, client_order_id="c1"))
        again = ack(applied)
        assert (again.order_id, again.order_status, again.engine_seq) == (first.order_id, "new", first.engine_seq)
        assert again.duplicate
        assert applied.events == ()

    def test_other_content_under_the_same_id_is_refused(self, market: Market) -> None:
        market.do(buy("BUYER", 9_700, 100_00, client_order_id="c1"))
        assert isinstance(refused(market, buy("BUYER", 9_701, 100_00, client_order_id="c1")), errors.DuplicateId)

    def test_a_refused_order_does_not_use_up_its_id(self, market: Market) -> None:
        refused(market, buy("BUYER", 9_700, 99, client_order_id="c1"))
        assert not ack(market.do(buy("BUYER", 9_700, 100_00, client_order_id="c1"))).duplicate


def test_cancel_all_filters(market: Market) -> None:
    market.do(buy("BUYER", 9_000, 1_00, tag="a"))
    market.do(buy("BUYER", 9_001, 1_00, tag="b", session="s"))
    count = market.do(CancelAll(account_id=AccountId("BUYER"), tag="a")).result
    assert count.count == 1  # type: ignore[union-attr]
    assert market.do(CancelAll(account_id=AccountId("BUYER"), loan_id=LoanId("OTHER"))).events == ()
    assert market.do(CancelAll(account_id=AccountId("BUYER"))).result.count == 1  # type: ignore[union-attr]


def test_the_hold_follows_the_accrued_bound_over_a_due_date(market: Market) -> None:
    """A late loan trades flat, so its buyers' reservations shrink to the clean amount."""
    market.do(buy("BUYER", 9_850, 1_000_00))
    applied = market.do(RollDay(to=date(2024, 3, 15)))
    assert market.cash("BUYER") == (5_000_00, 985_00)
    assert any(isinstance(event, CashChanged) for event in applied.events)


def test_a_snapshot_restores_the_same_state(market: Market) -> None:
    market.do(buy("BUYER", 9_700, 100_00, client_order_id="c1"))
    market.do(sell("ORIG", 9_700, 30_00))
    market.do(sell("ORIG", 9_800, 300_00, display_quantity=Face(7_00)))
    venue = market.venue
    again = Venue.restore(venue.seq, venue.snapshot(), last_trade_id=venue.state.last_trade_id)
    assert again.state_hash() == venue.state_hash()
    again.state.check_invariants()
    assert Currency("USD") in again.state.accounts[AccountId("BUYER")].cash
