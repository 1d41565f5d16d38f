"""Servicing of the loan of builders.py: 10,000.00 at 12 % over 12 months, 888.49 due on the 15th from February 2024."""

from datetime import date

import pytest

from market.claims.loan import LoanStatus
from market.claims.servicing import NewRow
from market.commands import HaltLoan, RollDay, ServicingAck
from market.errors import DuplicateId, InvalidArguments, LoanClosed, MarketError, UnknownLoan
from market.events import Executed, ExecutionRow, Posted, ScheduleChanged, Serviced
from market.ids import AccountId, LoanId, Minor
from market.orderbook.order import CancelReason, Order
from market.settlement.journal import CUSTODY, Leg
from market.venue.state import Loan
from market.venue.venue import Applied, Venue
from tests.builders import LOAN, Market, amend, buy, register, sell, service, servicing

LEVEL = 888_49
DUE = [date(2024, month, 15) for month in range(2, 8)]


class ServicedMarket(Market):
    """Holders A (1,000.00), B (500.00) and the originator (8,500.00); C has only cash. All bought at 98.00."""

    def __init__(self, **loan: object) -> None:
        super().__init__(**loan)
        for account, cash in (("A", 2_000_00), ("B", 1_000_00), ("C", 2_000_00)):
            self.investor(account, cash=cash)
        for account, face in (("A", 1_000_00), ("B", 500_00)):
            self.do(sell("ORIG", 9_800, face))
            self.do(buy(account, 9_800, face))

    def service(self, kind: str, on: date, amount: int | None = None, **given: object) -> Applied:
        applied = self.do(service(servicing(kind, on, amount, **given)))
        self.venue.state.check_invariants()
        return applied

    def pay(self, instalments: int) -> None:
        for day in DUE[:instalments]:
            self.roll(day)
            self.service("payment", day, LEVEL)

    def roll(self, day: date) -> None:
        if self.venue.state.today < day:
            self.do(RollDay(to=day))

    @property
    def loan(self) -> Loan:
        return self.venue.state.loans[LOAN]

    @property
    def orders(self) -> list[Order]:
        return list(self.venue.state.orders.values())


@pytest.fixture
def market() -> ServicedMarket:
    return ServicedMarket()


def rows_of(applied: Applied) -> list[ExecutionRow]:
    return [row for event in applied.events if isinstance(event, Executed) for row in event.rows]


def cancel_reasons(applied: Applied) -> list[CancelReason | None]:
    return [row.order.cancel_reason for row in rows_of(applied)]


def test_the_worked_case_a_resting_bid_survives_three_instalments(market: ServicedMarket) -> None:
    """985.00 clean before, 749.66 clean at factor 0.76108; beside it the hold covers a full period's accrued."""
    market.do(buy("C", 9_850, 1_000_00))
    assert market.cash("C")[1] == 985_00 + 10_00
    market.pay(3)
    [order] = market.orders
    assert (order.leaves, order.price, market.loan.outstanding) == (1_000_00, 9_850, 7_610_80)
    assert market.cash("C")[1] == order.hold == 749_66 + 7_61
    market.do(sell("A", 9_850, 1_000_00))
    assert market.cash("C") == (2_000_00 - 749_66, 0)


def test_cash_goes_to_the_holders_of_record_leg_by_leg(market: ServicedMarket) -> None:
    before = {account: market.cash(account)[0] for account in ("A", "B", "ORIG", "C")}
    market.roll(DUE[0])
    applied = market.service("payment", DUE[0], LEVEL)
    got = {account: market.cash(account)[0] - cash for account, cash in before.items()}
    assert got == {"A": 10_00 + 78_85, "B": 5_00 + 39_42, "ORIG": 85_00 + 670_22, "C": 0}
    [entry] = [event.entry for event in applied.events if isinstance(event, Posted)]
    assert {posting.leg for posting in entry.postings} == {Leg.INTEREST, Leg.REPAYMENT}
    assert sum(posting.amount for posting in entry.postings if posting.account_id == CUSTODY) == -LEVEL
    [booked] = [event for event in applied.events if isinstance(event, Serviced)]
    assert (booked.interest, booked.principal, booked.distributed) == (100_00, 788_49, LEVEL)
    assert any(isinstance(event, ScheduleChanged) for event in applied.events)


def test_the_unissued_share_is_not_posted_here() -> None:
    market = Market(issued=2_500_00)
    market.do(RollDay(to=DUE[0]))
    applied = market.do(service(servicing("payment", DUE[0], LEVEL)))
    assert market.cash("ORIG")[0] == 25_00 + 197_12
    assert next(event for event in applied.events if isinstance(event, Serviced)).distributed == 222_12
    market.venue.state.check_invariants()


def test_cost_leaves_with_the_principal_that_is_repaid(market: ServicedMarket) -> None:
    market.roll(DUE[0])
    market.service("payment", DUE[0], LEVEL)
    claim = market.venue.state.accounts[AccountId("A")].claims[LOAN]
    assert (claim.cost, claim.realised) == (980_00 - 77_27, 78_85 - 77_27)  # 98 % of 78.849
    market.service("prepayment", DUE[0])
    assert (claim.cost, claim.realised, claim.total) == (0, 20_00, 1_000_00)


def test_an_event_is_booked_once(market: ServicedMarket) -> None:
    market.roll(DUE[0])
    first = market.service("payment", DUE[0], LEVEL, event_id="srv-1")
    again = market.service("payment", DUE[0], LEVEL, event_id="srv-1")
    assert (first.result, again.result) == (ServicingAck(duplicates=(False,)), ServicingAck(duplicates=(True,)))
    assert again.events == ()
    with pytest.raises(DuplicateId):
        market.service("payment", DUE[0], LEVEL + 1, event_id="srv-1")


def test_a_list_is_booked_whole_or_not_at_all(market: ServicedMarket) -> None:
    market.do(register("L2"))
    market.roll(DUE[1])
    good = [servicing("payment", day, LEVEL, loan_id=loan_id) for day in DUE[:2] for loan_id in ("L1", "L2")]
    before = market.venue.state_hash()
    for bad, error in (
        (servicing("payment", DUE[1], 9_000_00), InvalidArguments),  # more than the ones before it leave
        (servicing("payment", DUE[1], 1, loan_id="L3"), UnknownLoan),
        (servicing("payment", DUE[1], 1, event_id=good[0].event_id), DuplicateId),
    ):
        with pytest.raises(error) as refusal:
            market.do(service(*good, bad))
        assert refusal.value.details["index"] == "4"
        assert market.venue.state_hash() == before
    assert market.do(service(*good, good[0])).result == ServicingAck(duplicates=(False,) * 4 + (True,))
    assert [loan.schedule.paid for loan in market.venue.state.loans.values()] == [2, 2]
    market.venue.state.check_invariants()


def test_flags_end_orders_that_do_not_want_the_event(market: ServicedMarket) -> None:
    market.do(buy("C", 9_000, 100_00, cancel_on_payment=True))
    market.do(buy("C", 9_001, 100_00, cancel_on_reschedule=True))
    market.do(sell("A", 9_900, 100_00))
    market.roll(DUE[0])
    assert cancel_reasons(market.service("payment", DUE[0], LEVEL)) == [CancelReason.PAYMENT]
    new = (NewRow(due_date=date(2025, 1, 15), interest=Minor(900_00), principal=Minor(9_211_51)),)
    assert cancel_reasons(market.service("reschedule", DUE[0], schedule=new)) == [CancelReason.RESCHEDULE]
    assert len(market.orders) == 1


def test_a_loan_that_is_repaid_closes_with_its_orders(market: ServicedMarket) -> None:
    market.do(buy("C", 9_000, 100_00))
    market.do(sell("A", 9_900, 100_00))
    assert cancel_reasons(market.service("prepayment", date(2024, 1, 15))) == [CancelReason.LOAN_REPAID] * 2
    assert (market.cash("C"), market.claim("A")) == ((2_000_00, 0), (1_000_00, 0))
    with pytest.raises(LoanClosed):
        market.do(buy("C", 9_000, 100_00))


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        ("buyback", LoanStatus.BOUGHT_BACK, CancelReason.LOAN_REPAID),
        ("write_off", LoanStatus.WRITTEN_OFF, CancelReason.LOAN_DEFAULTED),
        ("default", LoanStatus.DEFAULT, CancelReason.LOAN_DEFAULTED),
    ],
)
def test_events_that_end_orders(market: ServicedMarket, kind: str, status: LoanStatus, reason: CancelReason) -> None:
    market.do(buy("C", 9_000, 100_00))
    assert cancel_reasons(market.service(kind, date(2024, 1, 15))) == [reason]
    assert market.loan.status is status
    assert market.cash("C") == (2_000_00, 0)


def test_a_bid_that_a_payment_takes_below_the_yield_floor_ends(market: ServicedMarket) -> None:
    """Fewer instalments to come are worth less premium: above 101.00 a buyer now would get back less than he pays."""
    market.do(buy("C", 10_500, 100_00))
    market.do(buy("C", 10_100, 100_00))
    market.pay(6)
    assert [order.price for order in market.orders] == [10_100]


def test_a_hold_that_no_longer_fits_ends_the_order(market: ServicedMarket) -> None:
    """Capitalised interest makes the same face dearer than the bidder's cash allows."""
    market.pay(3)
    market.do(buy("C", 9_900, 2_500_00))
    rows = (NewRow(due_date=date(2025, 1, 15), interest=Minor(500_00), principal=Minor(9_000_00)),)
    applied = market.service("reschedule", DUE[2], schedule=rows)
    assert cancel_reasons(applied) == [CancelReason.FUNDS]


def test_an_order_of_a_halted_loan_stays_suspended(market: ServicedMarket) -> None:
    market.do(buy("C", 9_800, 100_00))
    market.do(HaltLoan(loan_id=LoanId("L1"), halted=True))
    market.roll(DUE[0])
    market.service("payment", DUE[0], LEVEL)
    assert market.cash("C")[1] == market.orders[0].hold < 98_00


def test_a_holder_who_is_also_bidding_may_use_what_he_receives(market: ServicedMarket) -> None:
    market.do(buy("A", 9_700, 1_000_00))
    market.roll(DUE[0])
    market.service("payment", DUE[0], LEVEL)
    total, held = market.cash("A")
    assert total == 2_000_00 - 980_00 + 88_85
    market.do(amend("A", market.orders[0].order_id, quantity=1_200_00))
    assert market.cash("A")[1] > held


def test_dust_gets_its_unit_by_the_largest_remainder() -> None:
    market = ServicedMarket()
    market.do(sell("ORIG", 9_800, 1_00))
    market.do(buy("C", 9_800, 1_00))
    market.roll(DUE[0])
    market.service("payment", DUE[0], 50_02)
    assert market.cash("C")[0] == 2_000_00 - 98 + 1  # 0.5002 of a unit, the largest remainder


def test_part_of_an_instalment_lowers_accrued_and_survives_a_rebuild(market: ServicedMarket) -> None:
    day = date(2024, 1, 30)
    market.roll(day)
    market.service("payment", day, 60_00)
    accrued = market.loan.on(day).accrued
    assert accrued.numerator * 31 == 40_00 * 15 * accrued.denominator
    venue = market.venue
    restored = Venue.restore(venue.seq, venue.snapshot(), last_trade_id=venue.state.last_trade_id)
    assert restored.state_hash() == venue.state_hash()
    assert restored.state.loans[LOAN].schedule == market.loan.schedule
    twin = service(servicing("payment", day, 40_00 + 788_49))
    assert restored.apply(venue.seq + 1, market.at, twin).events == venue.apply(venue.seq + 1, market.at, twin).events  # type: ignore[arg-type]


def test_late_comes_by_day_roll_and_a_payment_makes_it_current(market: ServicedMarket) -> None:
    market.roll(date(2024, 3, 2))
    assert (market.loan.status, market.loan.terms.never_late) == (LoanStatus.LATE, False)
    market.service("payment", date(2024, 3, 2), LEVEL)
    assert market.loan.status is LoanStatus.CURRENT


def test_an_empty_list_and_a_payment_of_tomorrow_are_refused(market: ServicedMarket) -> None:
    for command in (service(), service(servicing("payment", DUE[0], LEVEL))):
        with pytest.raises(MarketError):
            market.do(command)
