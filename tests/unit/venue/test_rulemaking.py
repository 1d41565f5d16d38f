"""Rulebooks as the operator sets them: defined, replaced, given to loans and to all that an originator registers."""

from dataclasses import replace
from typing import Any

import pytest

from market.commands import AccountKind, AssignRulebook, DefineRulebook, RegisterLoan, SetDefaultRulebook
from market.errors import DuplicateId, InvalidArguments, RuleViolation, UnknownAccount
from market.events import Executed, LoanChanged, RulebookChanged
from market.ids import AccountId, Face, LoanId, Minor
from market.orderbook.order import CancelReason
from market.venue.rulebook import CN_STRICT, FeeRule, Rulebook
from market.venue.venue import Venue
from tests.builders import LOAN, Market, buy, open_account, sell, service, servicing, terms

OWN = Rulebook(name="own", max_discount_bp=10_00, yield_floor_ppm=100_000)


def define(rules: Rulebook) -> DefineRulebook:
    return DefineRulebook(rulebook=rules, reason="as resolved")


def default(rulebook: str | None, account: str = "ORIG", *, move: bool = False) -> SetDefaultRulebook:
    return SetDefaultRulebook(account_id=AccountId(account), rulebook=rulebook, move=move)


def rulebook_of(market: Market, loan_id: str) -> Rulebook:
    return market.venue.state.loans[LoanId(loan_id)].rulebook


def reasons(applied: Any) -> list[CancelReason | None]:
    return [row.order.cancel_reason for event in applied.events if isinstance(event, Executed) for row in event.rows]


def test_a_new_rulebook_can_be_given_to_a_loan() -> None:
    market = Market()
    assert market.do(define(OWN)).events == (RulebookChanged(rulebook=OWN),)
    assert market.do(define(OWN)).result.duplicate  # type: ignore[union-attr]
    market.do(AssignRulebook(loan_id=LOAN, rulebook="own"))
    with pytest.raises(RuleViolation, match=r"at least 90\.00"):
        market.do(sell("ORIG", 8_999, 100_00))


def test_a_replaced_rulebook_holds_at_once_for_every_loan_under_it_and_ends_what_it_does_not_admit() -> None:
    market = Market(loans=("L1", "L2"))
    market.investor("A", cash=50_000_00)
    market.do(define(replace(OWN, max_discount_bp=None, yield_floor_ppm=None)))
    market.do(AssignRulebook(loan_id=LOAN, rulebook="own"))
    for price, loan_id in ((8_900, "L1"), (9_500, "L1"), (10_500, "L1"), (8_900, "L2")):
        market.do(buy("A", price, 100_00, loan_id=loan_id))
    applied = market.do(define(OWN))
    assert reasons(applied) == [CancelReason.RULE, CancelReason.YIELD_FLOOR]
    assert [event.terms.loan_id for event in applied.events if isinstance(event, LoanChanged)] == [LOAN]
    assert [(order.loan_id, order.price) for order in market.venue.state.orders.values()] == [
        ("L1", 9_500),
        ("L2", 8_900),
    ]
    market.venue.state.check_invariants()


def test_holds_follow_the_fee_of_a_replaced_rulebook() -> None:
    market = Market()
    market.investor("A", cash=1_000_00)
    market.do(buy("A", 9_000, 1_000_00))
    market.do(define(Rulebook(name="open", buyer_fee=FeeRule(rate_ppm=10_000))))
    assert market.cash("A")[1] == 900_00 + 9_00 + 10_00  # clean, fee, the period's interest
    dear = Rulebook(name="open", buyer_fee=FeeRule(rate_ppm=200_000))
    assert reasons(market.do(define(dear))) == [CancelReason.FUNDS]


def test_shipped_rulebooks_can_be_replaced() -> None:
    market = Market()
    market.do(define(replace(CN_STRICT, max_transfers=3)))
    market.do(AssignRulebook(loan_id=LOAN, rulebook="cn-strict"))
    assert rulebook_of(market, LOAN).max_transfers == 3


def test_loans_that_name_no_rulebook_get_their_originators() -> None:
    market = Market()
    market.do(open_account("OTHER", AccountKind.ORIGINATOR))
    market.do(default("cn-strict"))
    assert market.do(default("cn-strict")).result.duplicate  # type: ignore[union-attr]
    for loan_id, rulebook, originator in (("L2", None, "ORIG"), ("L3", "open", "ORIG"), ("L4", None, "OTHER")):
        loan = terms(loan_id, originator=AccountId(originator))
        market.do(RegisterLoan(terms=loan, issued_face=Face(0), rulebook=rulebook))
    names = [rulebook_of(market, loan_id).name for loan_id in ("L1", "L2", "L3", "L4")]
    assert names == ["open", "cn-strict", "open", "open"]
    market.do(default(None))
    market.do(RegisterLoan(terms=terms("L5"), issued_face=Face(0)))
    assert rulebook_of(market, "L5").name == "open"


def test_a_repeated_registration_is_one_whatever_the_default_is_now() -> None:
    market = Market(loans=())
    loan = RegisterLoan(terms=terms(), issued_face=Face(0))
    market.do(loan)
    market.do(default("cn-strict"))
    assert market.do(loan).result.duplicate  # type: ignore[union-attr]
    with pytest.raises(DuplicateId):
        market.do(replace(loan, rulebook="cn-strict"))


def test_loans_are_moved_when_that_is_asked_for_but_not_finished_ones() -> None:
    market = Market(loans=("L1", "L2"))
    market.investor("A", cash=50_000_00)
    market.do(service(servicing("prepayment", market.venue.state.today, loan_id="L2")))
    market.do(buy("A", 9_000, 100_00))
    assert reasons(market.do(default("cn-strict", move=True))) == [CancelReason.RULE]
    assert [rulebook_of(market, loan_id).name for loan_id in ("L1", "L2")] == ["cn-strict", "open"]
    assert market.do(default("cn-strict", move=True)).result.duplicate  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("command", "error", "field"),
    [
        pytest.param(default("none"), InvalidArguments, "rulebook", id="unknown rulebook"),
        pytest.param(default("open", "HOUSE"), InvalidArguments, "account_id", id="not an originator"),
        pytest.param(default("open", "NOBODY"), UnknownAccount, None, id="unknown account"),
        pytest.param(default(None, move=True), InvalidArguments, "move_loans", id="moved to nothing"),
    ],
)
def test_what_is_refused(command: SetDefaultRulebook, error: type, field: str | None) -> None:
    market = Market()
    before = market.venue.state_hash()
    with pytest.raises(error) as refusal:
        market.do(command)
    assert refusal.value.field == field
    assert market.venue.state_hash() == before


def test_rulebooks_and_defaults_survive_a_restore_and_are_part_of_the_state() -> None:
    market = Market()
    before = market.venue.state_hash()
    market.do(define(replace(OWN, seller_fee=FeeRule(cap=Minor(5)))))
    assert market.venue.state_hash() != before
    market.do(default("own", move=True))
    venue = market.venue
    restored = Venue.restore(venue.seq, venue.snapshot(), last_trade_id=venue.state.last_trade_id)
    assert restored.state_hash() == venue.state_hash()
    assert restored.state.rulebooks == venue.state.rulebooks
    assert restored.state.accounts[AccountId("ORIG")].default_rulebook == "own"
