"""Edge cases that bit real platforms, one test each, with the numbers worked by hand.

The loan of builders.py: 10,000.00 at 12 % over 12 months, 888.49 due on the 15th from February 2024. Its first rows:
100.00 + 788.49 leave 9,211.51, 92.12 + 796.37 leave 8,415.14, 84.15 + 804.34 leave 7,610.80. Unless a test says
otherwise A holds 1,000.00 and B 500.00 of it, bought at 98.00, the originator 8,500.00; C has 2,000.00 in cash.
"""

from datetime import date
from typing import Any

import pytest

from market.claims.loan import Coverage, Guarantee, GuaranteeKind, LoanStatus
from market.claims.servicing import NewRow
from market.commands import RegisterLoan, RollDay
from market.errors import BelowMinimum, LoanClosed, RuleViolation
from market.events import Posted, Traded
from market.ids import AccountId, Face, Minor
from market.orderbook.order import CancelReason
from market.settlement.journal import CUSTODY
from market.venue.venue import Applied
from tests.builders import LOAN, Market, buy, sell, terms
from tests.unit.venue.test_servicing import DUE, LEVEL, ServicedMarket, cancel_reasons

ISSUED = date(2024, 1, 15)


@pytest.fixture
def market() -> ServicedMarket:
    return ServicedMarket()


def gains(market: Market, *accounts: str) -> Any:
    """Return a function that says how much cash each account got since now, in their order."""
    before = [market.cash(account)[0] for account in accounts]
    return lambda: [market.cash(account)[0] - cash for account, cash in zip(accounts, before, strict=True)]


def trade_of(applied: Applied) -> Traded:
    [trade] = [event for event in applied.events if isinstance(event, Traded)]
    return trade


def realised(market: Market, account: str) -> int:
    return market.venue.state.accounts[AccountId(account)].claims[LOAN].realised


def guaranteed(coverage: Coverage) -> ServicedMarket:
    guarantee = Guarantee(kind=GuaranteeKind.ORIGINATOR_BUYBACK, trigger_days=10, coverage=coverage)
    return ServicedMarket(guarantee=guarantee)


# Between order and trade ---------------------------------------------------------------------------------------------


def test_worked_case_a_bid_of_985_00_costs_749_66_after_three_instalments(market: ServicedMarket) -> None:
    """1,000.00 x 98.50 % = 985.00; at factor 7,610.80 / 10,000.00 = 0.76108 it is 749.6638, so 749.66."""
    market.do(buy("C", 9_850, 1_000_00))
    assert market.cash("C")[1] == 985_00 + 10_00
    market.pay(3)
    assert market.loan.outstanding == 7_610_80
    assert trade_of(market.do(sell("A", 9_850, 1_000_00))).principal == 749_66


def test_a_repayment_between_order_and_trade_belongs_to_the_seller_and_lowers_the_price(market: ServicedMarket) -> None:
    """The instalment's tenth, 10.00 + 78.85, is A's; C pays 1,000.00 x 0.921151 x 98.50 % = 907.3337 for the rest."""
    market.do(buy("C", 9_850, 1_000_00))
    got = gains(market, "A", "C")
    market.pay(1)
    assert got() == [88_85, 0]
    trade = trade_of(market.do(sell("A", 9_850, 1_000_00)))
    assert (trade.quantity, trade.principal, trade.accrued) == (1_000_00, 907_33, 0)


def test_a_seller_whose_whole_position_rests_still_gets_the_instalment(market: ServicedMarket) -> None:
    """Held face is owned face: A gets 88.85, the order stays whole and brings 1,000.00 x 0.921151 x 99 % = 911.94."""
    market.do(sell("A", 9_900, 1_000_00))
    got = gains(market, "A")
    market.pay(1)
    assert got() == [88_85]
    assert market.claim("A") == (1_000_00, 1_000_00)
    assert trade_of(market.do(buy("C", 9_900, 1_000_00))).principal == 911_94
    assert market.claim("A") == (0, 0)


def test_a_holder_who_is_also_bidding_is_paid_and_his_hold_falls(market: ServicedMarket) -> None:
    """970.00 + 10.00 held before; 1,000.00 x 0.921151 x 97 % = 893.52 and 9.21 accrued at most after it."""
    market.do(buy("A", 9_700, 1_000_00))
    assert market.cash("A") == (1_020_00, 980_00)
    market.pay(1)
    assert market.cash("A") == (1_020_00 + 88_85, 893_52 + 9_21)


def test_part_of_an_instalment_then_a_trade_accrues_only_what_is_still_owed(market: ServicedMarket) -> None:
    """60.00 of the 100.00 interest came on 30 January: the other 40.00 earned 15 of 31 days, 1.94 on a tenth."""
    day = date(2024, 1, 30)
    market.roll(day)
    market.service("payment", day, 60_00)
    market.do(sell("A", 10_000, 1_000_00))
    trade = trade_of(market.do(buy("C", 10_000, 1_000_00)))
    assert (trade.principal, trade.accrued) == (1_000_00, 1_94)


# What a price above or below par comes to ----------------------------------------------------------------------------


def test_a_prepayment_takes_the_premium_from_its_holder(market: ServicedMarket) -> None:
    """C paid 1,050.00; on 30 January the loan is repaid with 48.39 of interest: C gets 1,000.00 and 4.84 of it."""
    market.do(sell("A", 10_500, 1_000_00))
    market.do(buy("C", 10_500, 1_000_00))
    got = gains(market, "C")
    market.roll(date(2024, 1, 30))
    market.service("prepayment", date(2024, 1, 30))
    assert got() == [1_004_84]
    assert realised(market, "C") == -50_00


def test_a_prepayment_closes_the_loan_and_its_orders(market: ServicedMarket) -> None:
    market.do(buy("C", 9_000, 100_00))
    market.do(sell("A", 9_900, 1_000_00))
    assert cancel_reasons(market.service("prepayment", ISSUED)) == [CancelReason.LOAN_REPAID] * 2
    assert (market.loan.status, market.loan.outstanding) == (LoanStatus.REPAID, 0)
    assert (market.cash("C"), market.claim("A")) == ((2_000_00, 0), (1_000_00, 0))
    with pytest.raises(LoanClosed):
        market.do(sell("A", 9_900, 1_000_00))


def test_a_buyback_of_principal_gives_a_discount_to_its_holder() -> None:
    """A paid 980.00 and gets 1,000.00; the guarantee covers no interest."""
    market = guaranteed(Coverage.PRINCIPAL)
    market.do(buy("C", 9_000, 100_00))
    market.roll(date(2024, 2, 29))
    got = gains(market, "A", "B", "ORIG")
    assert cancel_reasons(market.service("buyback", date(2024, 2, 29))) == [CancelReason.LOAN_REPAID]
    assert got() == [1_000_00, 500_00, 8_500_00]
    assert realised(market, "A") == 20_00
    assert market.loan.status is LoanStatus.BOUGHT_BACK


def test_a_buyback_with_accrued_takes_a_premium_from_its_holder() -> None:
    """Overdue 100.00 and 14 of 29 days of 92.12 make 144.47. C, who paid 1,050.00, gets 1,000.00 and 14.45."""
    market = guaranteed(Coverage.PRINCIPAL_AND_ACCRUED)
    market.do(sell("A", 10_500, 1_000_00))
    market.do(buy("C", 10_500, 1_000_00))
    market.roll(date(2024, 2, 29))
    got = gains(market, "A", "C")
    market.service("buyback", date(2024, 2, 29))
    assert got() == [0, 1_014_45]
    assert realised(market, "C") == -50_00


# Who gets which cent -------------------------------------------------------------------------------------------------


def test_dust_smaller_than_the_number_of_holders_goes_to_the_largest_remainders(market: ServicedMarket) -> None:
    """0.02 is 0.2, 0.1 and 1.7 units: one to the originator whole, one to his remainder of 0.7. No leg is of zero."""
    got = gains(market, "A", "B", "ORIG")
    market.roll(DUE[0])
    applied = market.service("payment", DUE[0], 2)
    assert got() == [0, 0, 2]
    [entry] = [event.entry for event in applied.events if isinstance(event, Posted)]
    assert {posting.account_id: posting.amount for posting in entry.postings} == {"ORIG": 2, CUSTODY: -2}


def test_a_rounding_tie_goes_to_the_larger_holding_then_to_the_smaller_account_id() -> None:
    """0.02 over 2,500, 2,500 and 5,000 is 0.5, 0.5, 1: the odd unit is A's. Over 2,500 and 7,500 it is B's."""
    market = Market()
    for account in ("B", "A"):
        market.investor(account, cash=10_000_00)
        market.do(sell("ORIG", 10_000, 2_500_00))
        market.do(buy(account, 10_000, 2_500_00))
    assert paid_a_little(market, 2) == {"A": 1, "B": 0, "ORIG": 1}
    market.do(sell("ORIG", 10_000, 5_000_00))
    market.do(buy("B", 10_000, 5_000_00))
    assert paid_a_little(market, 2) == {"A": 0, "B": 2, "ORIG": 0}


def paid_a_little(market: Market, amount: int) -> dict[str, int]:
    accounts = ("A", "B", "ORIG")
    got = gains(market, *accounts)
    ServicedMarket.service(market, "payment", ISSUED, amount, event_id=str(market.at))  # type: ignore[arg-type]
    return dict(zip(accounts, got(), strict=True))


def test_two_payments_on_one_day_are_two_parts_of_one_instalment(market: ServicedMarket) -> None:
    """A's tenth of 444.25: 10.00 and 34.425, half up to 34.43; of 444.24: 44.424, the odd unit is the originator's."""
    market.roll(DUE[0])
    got = gains(market, "A")
    market.service("payment", DUE[0], 444_25)
    assert got() == [10_00 + 34_43]
    market.service("payment", DUE[0], 444_24)
    assert got() == [10_00 + 34_43 + 44_42]
    assert (market.loan.schedule.paid, market.loan.outstanding) == (1, 9_211_51)


def test_the_only_holder_gets_all_of_it() -> None:
    market = Market()
    got = gains(market, "ORIG")
    ServicedMarket.service(market, "payment", ISSUED, LEVEL)  # type: ignore[arg-type]
    assert got() == [LEVEL]


# Late, default, recovery ---------------------------------------------------------------------------------------------


def test_a_late_loan_trades_flat_and_its_arrears_go_to_the_buyer(market: ServicedMarket) -> None:
    """On 2 March, 16 days past due: C pays 980.00 and nothing accrued; the overdue 10.00 + 78.85 come to C."""
    day = date(2024, 3, 2)
    market.roll(day)
    assert market.loan.status is LoanStatus.LATE
    market.do(sell("A", 9_800, 1_000_00))
    trade = trade_of(market.do(buy("C", 9_800, 1_000_00)))
    assert (trade.principal, trade.accrued, trade.ytm_ppm) == (980_00, 0, None)
    got = gains(market, "A", "C")
    market.service("payment", day, LEVEL)
    assert got() == [0, 88_85]
    assert market.loan.status is LoanStatus.CURRENT


def test_a_missed_instalment_is_paid_with_the_next_and_the_loan_stays_marked(market: ServicedMarket) -> None:
    """Two instalments of 888.49: interest 192.12 and principal 1,584.86, of which A gets 19.21 and 158.49."""
    market.roll(DUE[0])
    market.service("missed", DUE[0])
    assert market.loan.status is LoanStatus.GRACE
    market.roll(DUE[1])
    assert market.loan.status is LoanStatus.LATE
    got = gains(market, "A")
    market.service("payment", DUE[1], 2 * LEVEL)
    assert got() == [19_21 + 158_49]
    assert (market.loan.status, market.loan.schedule.paid) == (LoanStatus.CURRENT, 2)
    assert market.loan.outstanding == 8_415_14
    assert not market.loan.terms.never_late


def test_a_recovery_years_later_goes_to_whoever_holds_the_claim_then(market: ServicedMarket) -> None:
    """2,000.00 less 300.00 of costs: 661.86 interest, 1,038.14 principal. C's tenth is 66.19 + 103.81, A has sold."""
    market.service("default", ISSUED)
    market.do(sell("A", 5_000, 1_000_00))
    assert trade_of(market.do(buy("C", 5_000, 1_000_00))).principal == 500_00
    market.service("write_off", ISSUED)
    years_later = date(2029, 1, 15)
    market.roll(years_later)
    got = gains(market, "A", "C")
    market.service("recovery", years_later, 2_000_00, costs=Minor(300_00))
    assert got() == [0, 66_19 + 103_81]


def test_a_written_off_loan_is_closed_and_recovers_to_the_end(market: ServicedMarket) -> None:
    """On the day of issue no interest is due: 4,000.00 and 6,000.00 are principal, A's tenth 400.00 and 600.00."""
    market.do(buy("C", 9_000, 100_00))
    assert cancel_reasons(market.service("write_off", ISSUED)) == [CancelReason.LOAN_DEFAULTED]
    with pytest.raises(LoanClosed):
        market.do(buy("C", 9_000, 100_00))
    got = gains(market, "A")
    market.service("recovery", ISSUED, 4_000_00)
    assert (market.loan.status, market.loan.outstanding) == (LoanStatus.WRITTEN_OFF, 6_000_00)
    market.service("recovery", ISSUED, 6_000_00)
    assert (market.loan.status, market.loan.outstanding) == (LoanStatus.RECOVERED, 0)
    assert got() == [1_000_00]


# What an event does to the orders that wait --------------------------------------------------------------------------


def rows(principal: int, interest: int = 0) -> tuple[NewRow, ...]:
    return (NewRow(due_date=date(2025, 1, 15), interest=Minor(interest), principal=Minor(principal)),)


def test_capitalised_interest_takes_the_factor_above_one_and_orders_follow(market: ServicedMarket) -> None:
    """300.00 more: factor 1.03. The bid of 1,000.00 at 98.50 costs 1,014.55 and holds 123.60 more for accrued."""
    market.do(buy("C", 9_850, 1_000_00))
    market.service("reschedule", ISSUED, schedule=rows(10_300_00, 1_236_00))
    assert market.loan.outstanding == 10_300_00
    assert market.cash("C")[1] == 1_014_55 + 123_60
    assert trade_of(market.do(sell("A", 9_850, 1_000_00))).principal == 1_014_55
    assert market.claim("C") == (1_000_00, 0)  # face is original face, whatever is owed


def test_a_hold_that_no_longer_fits_ends_the_order_with_funds(market: ServicedMarket) -> None:
    """1,900.00 at par fits into 2,000.00; at factor 1.2 it would cost 2,280.00."""
    market.do(buy("C", 10_000, 1_900_00))
    applied = market.service("reschedule", ISSUED, schedule=rows(12_000_00))
    assert cancel_reasons(applied) == [CancelReason.FUNDS]


def test_a_yield_that_drifts_below_the_floor_ends_the_order(market: ServicedMarket) -> None:
    """After five instalments 6,219.41 is to come on 5,977.91. On 14 July 29 of 30 days of 59.78 are earned: above
    (6,219.41 - 57.787) / 5,977.91 = 103.07 a buyer would get back less than he pays; the day before it was 103.10.
    """
    market.do(buy("C", 10_308, 100_00))
    market.do(buy("C", 10_307, 100_00))
    market.pay(5)
    assert market.loan.outstanding == 5_977_91
    market.roll(date(2024, 7, 13))
    assert len(market.orders) == 2
    assert cancel_reasons(market.do(RollDay(to=date(2024, 7, 14)))) == [CancelReason.YIELD_FLOOR]
    assert [order.price for order in market.orders] == [10_307]


def test_flags_end_only_the_orders_that_asked_for_it(market: ServicedMarket) -> None:
    market.do(buy("C", 9_000, 100_00, cancel_on_payment=True))
    market.do(buy("C", 9_001, 100_00, cancel_on_reschedule=True))
    market.do(buy("C", 9_002, 100_00))
    market.roll(DUE[0])
    assert cancel_reasons(market.service("payment", DUE[0], LEVEL)) == [CancelReason.PAYMENT]
    applied = market.service("reschedule", DUE[0], schedule=rows(9_211_51, 900_00))
    assert cancel_reasons(applied) == [CancelReason.RESCHEDULE]
    assert [order.price for order in market.orders] == [9_002]


def test_at_a_factor_near_zero_nothing_trades_for_nothing(market: ServicedMarket) -> None:
    """0.01 of 10,000.00 is left: 1,000.00 of face would cost 0.001, so it can't be ordered, and a bid of it must go."""
    market.do(buy("C", 9_800, 1_000_00))
    market.roll(DUE[0])
    market.service("payment", DUE[0], 10_099_99)
    assert market.loan.outstanding == 1
    assert market.cash("C") == (2_000_00, 0)  # the bid waits and holds nothing
    with pytest.raises(BelowMinimum):
        market.do(sell("A", 9_800, 1_000_00))
    applied = market.do(sell("ORIG", 9_800, 8_500_00))  # 0.00833 is a cent
    assert [reason for reason in cancel_reasons(applied) if reason] == [CancelReason.RULE]
    assert market.cash("C") == (2_000_00, 0)
    got = gains(market, "A", "B", "ORIG")
    market.service("payment", DUE[0], 1)
    assert got() == [0, 0, 1]
    assert market.loan.status is LoanStatus.REPAID


# The calendar --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("year", "february"), [(2024, date(2024, 2, 29)), (2023, date(2023, 2, 28))])
def test_a_loan_of_the_31st_is_due_on_each_month_s_last_day(year: int, february: date) -> None:
    """31 January -> 28/29 February -> 31 March -> 30 April. On 15 March 15 (or 14 + 1) of its days are earned."""
    market = Market(day=date(year, 1, 31), issue_date=date(year, 1, 31), first_due_date=february)
    loan = market.venue.state.loans[LOAN]
    assert [row.due_date for row in loan.schedule.rows[:4]] == [
        february,
        date(year, 3, 31),
        date(year, 4, 30),
        date(year, 5, 31),
    ]
    market.investor("C", cash=2_000_00)
    ServicedMarket.roll(market, february)  # type: ignore[arg-type]
    ServicedMarket.service(market, "payment", february, LEVEL)  # type: ignore[arg-type]
    ServicedMarket.roll(market, date(year, 3, 15))  # type: ignore[arg-type]
    market.do(sell("ORIG", 10_000, 1_000_00))
    trade = trade_of(market.do(buy("C", 10_000, 1_000_00)))
    assert (trade.principal, trade.accrued) == (921_15, 4_46)  # 92.12 x 15 / 31 is 44.57


def test_a_claim_does_not_trade_before_its_loan_is_issued() -> None:
    market = Market(loans=())
    later = terms(issue_date=date(2024, 1, 17), first_due_date=date(2024, 2, 17))
    market.do(RegisterLoan(terms=later, issued_face=Face(10_000_00)))
    market.investor("C", cash=2_000_00)
    market.do(RollDay(to=date(2024, 1, 16)))
    for order in (sell("ORIG", 9_800, 100_00), buy("C", 9_800, 100_00)):
        with pytest.raises(RuleViolation) as refusal:
            market.do(order)
        assert refusal.value.details["rule"] == "issue_date"
    market.do(RollDay(to=date(2024, 1, 17)))
    market.do(sell("ORIG", 9_800, 100_00))
    assert trade_of(market.do(buy("C", 9_800, 100_00))).accrued == 0
