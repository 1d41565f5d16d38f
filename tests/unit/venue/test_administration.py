"""Accounts, cash, loans, issue and the business day: idempotent where the contract says so, refused without a trace."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from market import errors
from market.claims.loan import LoanStatus
from market.commands import (
    Command,
    Deposit,
    Done,
    FreezeAccount,
    HaltLoan,
    IssueFace,
    Mode,
    OpenMarket,
    RollDay,
    SetMode,
    Withdraw,
)
from market.events import CustodyMoved, LoanChanged, MarketChanged
from market.ids import AccountId, Currency, Face, LoanId, Minor, TradeId
from market.venue.state import Lending
from market.venue.venue import Venue
from tests.builders import DAY, LOAN, Market, buy, deposit, open_account, register, sell, terms


@pytest.fixture
def market() -> Market:
    market = Market()
    market.investor("BUYER", 1_000_00)
    return market


def withdraw(account_id: str, amount: int, ref: str = "w1") -> Withdraw:
    return Withdraw(account_id=AccountId(account_id), currency=Currency("USD"), amount=Minor(amount), custody_ref=ref)


REPEATABLE: list[Any] = [
    pytest.param(open_account("A1", name="x", reason="one"), open_account("A1", name="x", reason="two"), id="account"),
    pytest.param(
        deposit("BUYER", 5_00, ref="d"), replace(deposit("BUYER", 5_00, ref="d"), reason="again"), id="deposit"
    ),
    pytest.param(withdraw("BUYER", 5_00), withdraw("BUYER", 5_00), id="withdrawal"),
    pytest.param(register("L2"), register("L2"), id="loan"),
    pytest.param(HaltLoan(loan_id=LOAN, halted=True), HaltLoan(loan_id=LOAN, halted=True), id="halt"),
    pytest.param(SetMode(mode=Mode.HALTED), SetMode(mode=Mode.HALTED), id="mode"),
    pytest.param(
        FreezeAccount(account_id=AccountId("BUYER"), frozen=True),
        FreezeAccount(account_id=AccountId("BUYER"), frozen=True),
        id="freeze",
    ),
]


@pytest.mark.parametrize(("first", "again"), REPEATABLE)
def test_a_repeat_changes_nothing_and_says_so(market: Market, first: Command, again: Command) -> None:
    assert market.do(first).result == Done(duplicate=False)
    before = market.venue.state_hash()
    applied = market.do(again)
    assert applied.result == Done(duplicate=True)
    assert applied.events == ()
    assert market.venue.state_hash() == before


@pytest.mark.parametrize(
    ("first", "other"),
    [
        pytest.param(open_account("A1", name="x"), open_account("A1", name="y"), id="account"),
        pytest.param(deposit("BUYER", 5_00, ref="d"), deposit("BUYER", 6_00, ref="d"), id="deposit"),
        pytest.param(
            deposit("BUYER", 5_00, ref="d"), withdraw("BUYER", 5_00, "d"), id="a withdrawal under its reference"
        ),
        pytest.param(register("L2"), register("L2", grade="B"), id="loan"),
    ],
)
def test_the_same_id_with_other_content_is_refused(market: Market, first: Command, other: Command) -> None:
    market.do(first)
    before = market.venue.state_hash()
    with pytest.raises(errors.DuplicateId):
        market.do(other)
    assert market.venue.state_hash() == before


@pytest.mark.parametrize(
    ("command", "error", "field"),
    [
        pytest.param(open_account("a b"), errors.InvalidArguments, "account_id", id="account id"),
        pytest.param(open_account("CUSTODY"), errors.InvalidArguments, "account_id", id="the ledger's own account"),
        pytest.param(deposit("NOBODY", 1), errors.UnknownAccount, None, id="deposit to nobody"),
        pytest.param(deposit("BUYER", 0), errors.InvalidArguments, "amount", id="deposit of nothing"),
        pytest.param(deposit("BUYER", 1, "usd"), errors.InvalidArguments, "currency", id="currency"),
        pytest.param(deposit("HOUSE", 1), errors.NotEligible, "account_id", id="deposit to the house"),
        pytest.param(withdraw("BUYER", 1_000_01), errors.InsufficientFunds, "amount", id="overdraft"),
        pytest.param(register("l2"), errors.InvalidArguments, "loan_id", id="loan id"),
        pytest.param(
            register("L2", originator=AccountId("BUYER")), errors.InvalidArguments, "originator", id="not an originator"
        ),
        pytest.param(register("L2", originator=AccountId("X")), errors.UnknownAccount, None, id="unknown originator"),
        pytest.param(register("L2", term_months=0), errors.InvalidArguments, "term_months", id="term"),
        pytest.param(register("L2", annual_rate_ppm=10_000_001), errors.InvalidArguments, "annual_rate", id="rate"),
        pytest.param(
            register("L2", first_due_date=DAY), errors.InvalidArguments, "first_due_date", id="first due date"
        ),
        pytest.param(register("L2", months_per_period=5), errors.InvalidArguments, "months_per_period", id="periods"),
        pytest.param(
            register("L2", outstanding_at_registration=Minor(10_000_01)),
            errors.InvalidArguments,
            "outstanding_principal",
            id="more outstanding than lent",
        ),
        pytest.param(
            register("L2", outstanding_at_registration=Minor(0)),
            errors.InvalidArguments,
            "issued_face",
            id="claims on a live loan with nothing outstanding",
        ),
        pytest.param(
            register("L2", issued=10_000_01), errors.RuleViolation, "issued_face", id="more face than principal"
        ),
        pytest.param(register("L2", issued=-1), errors.InvalidQuantity, "issued_face", id="negative face"),
        pytest.param(replace(register("L2"), rulebook="none"), errors.InvalidArguments, "rulebook", id="rulebook"),
        pytest.param(IssueFace(loan_id=LOAN, face=Face(1)), errors.RuleViolation, "face", id="all is issued"),
        pytest.param(IssueFace(loan_id=LOAN, face=Face(0)), errors.InvalidQuantity, "face", id="issue of nothing"),
        pytest.param(IssueFace(loan_id=LoanId("X"), face=Face(1)), errors.UnknownLoan, "symbol", id="issue of no loan"),
        pytest.param(RollDay(to=DAY), errors.InvalidArguments, "to", id="the day does not move backward"),
    ],
)
def test_bad_commands_leave_no_trace(
    market: Market, command: Command, error: type[errors.MarketError], field: str | None
) -> None:
    before = market.venue.state_hash()
    with pytest.raises(error) as refusal:
        market.do(command)
    assert refusal.value.field == field
    assert market.venue.state_hash() == before


def test_the_balance_coefficient_is_a_hard_rule() -> None:
    """600,000.00 of 1,000,000.00 are out: 400,000.00 more are accepted, 400,000.01 refused."""
    million = Minor(1_000_000_00)
    market = Market(loans=())
    market.do(register(issued=600_000_00, original_principal=million, outstanding_at_registration=million))
    with pytest.raises(errors.RuleViolation) as refusal:
        market.do(IssueFace(loan_id=LOAN, face=Face(400_000_01)))
    assert refusal.value.details == {"rule": "balance_coefficient", "bound": 400_000_00}
    market.do(IssueFace(loan_id=LOAN, face=Face(400_000_00)))
    assert market.claim("ORIG") == (1_000_000_00, 0)
    market.venue.state.check_invariants()


def test_of_all_that_an_originator_lent_no_more_is_transferred() -> None:
    """Over two loans of a currency, also after a restart; another currency is counted by itself."""
    market = Market(loans=())
    for loan_id, lent, issued in (("L1", 700_000_00, 600_000_00), ("L2", 300_000_00, 0)):
        principal = Minor(lent)
        market.do(register(loan_id, issued, original_principal=principal, outstanding_at_registration=principal))
    market.do(register("L3", currency=Currency("CNY")))
    restored = Venue.restore(market.venue.seq, market.venue.snapshot(), last_trade_id=TradeId(0))
    key = AccountId("ORIG"), Currency("USD")
    for venue in (market.venue, restored):
        assert venue.state.lending[key] == Lending(lent=1_000_000_00, transferred=600_000_00)
        venue.state.check_invariants()
    for loan_id, room in (("L1", 100_000_00), ("L2", 300_000_00)):
        with pytest.raises(errors.RuleViolation) as refusal:
            market.do(IssueFace(loan_id=LoanId(loan_id), face=Face(room + 1)))
        assert refusal.value.details == {"rule": "balance_coefficient", "bound": room}
        market.do(IssueFace(loan_id=LoanId(loan_id), face=Face(room)))
    assert market.venue.state.lending[key] == Lending(lent=1_000_000_00, transferred=1_000_000_00)
    market.venue.state.check_invariants()


def test_a_withdrawal_takes_only_what_no_order_holds(market: Market) -> None:
    market.do(buy("BUYER", 9_000, 1_000_00))
    with pytest.raises(errors.InsufficientFunds):
        market.do(withdraw("BUYER", 90_01))
    market.do(withdraw("BUYER", 90_00))
    assert market.cash("BUYER") == (910_00, 910_00)


def test_a_deposit_names_its_custody_movement(market: Market) -> None:
    applied = market.do(
        Deposit(account_id=AccountId("BUYER"), currency=Currency("CNY"), amount=Minor(7), custody_ref="bank-1")
    )
    moved = [event for event in applied.events if isinstance(event, CustodyMoved)]
    assert [(m.custody_ref, m.amount) for m in moved] == [("bank-1", 7)]
    assert market.venue.state.custody_totals[Currency("CNY")] == 7


def test_a_market_opens_once() -> None:
    assert Market().do(OpenMarket(business_date=DAY)).result == Done(duplicate=True)


def test_the_originator_holds_what_is_issued_at_par_of_what_is_outstanding() -> None:
    market = Market(outstanding_at_registration=Minor(4_000_00))
    claim = market.venue.state.accounts[AccountId("ORIG")].claims[LOAN]
    assert (claim.total, claim.cost) == (10_000_00, 4_000_00)


@pytest.mark.parametrize(
    ("to", "status"),
    [
        pytest.param(date(2024, 2, 15), LoanStatus.CURRENT, id="on the due date"),
        pytest.param(date(2024, 2, 16), LoanStatus.GRACE, id="the day after"),
        pytest.param(date(2024, 3, 1), LoanStatus.GRACE, id="last of 15 grace days"),
        pytest.param(date(2024, 3, 2), LoanStatus.LATE, id="the day after those"),
    ],
)
def test_an_unpaid_instalment_moves_the_status(market: Market, to: date, status: LoanStatus) -> None:
    applied = market.do(RollDay(to=to))
    assert market.venue.state.loans[LOAN].status is status
    assert any(isinstance(event, MarketChanged) and event.business_date == to for event in applied.events)
    assert any(isinstance(event, LoanChanged) for event in applied.events) is (status is not LoanStatus.CURRENT)


def test_a_day_roll_of_many_days_is_the_same_as_one_by_one() -> None:
    def world() -> Market:
        market = Market(loans=("L1", "L2"))
        market.investor("BUYER", 5_000_00)
        market.do(buy("BUYER", 10_400, 1_000_00))
        market.do(sell("ORIG", 10_500, 1_000_00, loan_id="L2"))
        return market

    at_once, step_by_step = world(), world()
    at_once.do(RollDay(to=date(2024, 4, 1)))
    day = DAY
    while day < date(2024, 4, 1):
        day = date.fromordinal(day.toordinal() + 1)
        step_by_step.do(RollDay(to=day))
    one, other = at_once.venue.state, step_by_step.venue.state
    assert [loan.status for loan in one.loans.values()] == [loan.status for loan in other.loans.values()]
    assert at_once.cash("BUYER") == step_by_step.cash("BUYER")
    assert list(one.orders) == list(other.orders)


def test_terms_are_kept_as_registered(market: Market) -> None:
    assert market.venue.state.loans[LOAN].terms == terms()
