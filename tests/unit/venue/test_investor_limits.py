"""How much one investor may have, and what suits him: judged at entry, on what he holds and bids for."""

from typing import Any

import pytest

from market.commands import AccountKind, AssignRulebook, RegisterLoan, RollDay
from market.errors import InvalidArguments, MarketError, NotEligible, NotTransferable, RuleViolation
from market.events import Executed
from market.ids import Face, Minor
from market.orderbook.order import CancelReason
from market.settlement.codec import dumps, loads
from market.venue.investors import NO_LIMITS
from market.venue.rulebook import OPEN, FeeRule, Limits, Rulebook
from tests.builders import DAY, LOAN, Market, amend, buy, deposit, sell, service, servicing, terms


def under(limits: Limits = NO_LIMITS, *, suitability: tuple[tuple[str, str], ...] = (), **more: Any) -> Market:
    """L1 and L2 of borrower X, L3 of Y, L4 and L5 of nobody named, under one rulebook. A has 10,000.00, class c3."""
    market = Market(loans=())
    market.venue.state.rulebooks["limited"] = Rulebook(name="limited", limits=limits, suitability=suitability, **more)
    for loan_id, borrower, grade in (
        ("L1", "X", "B"), ("L2", "X", "B"), ("L3", "Y", "C"), ("L4", "", "D"), ("L5", "", "D"),
    ):  # fmt: skip
        loan = terms(loan_id, borrower_ref=borrower, grade=grade)
        market.do(RegisterLoan(terms=loan, issued_face=Face(10_000_00), rulebook="limited"))
    market.investor("A", cash=10_000_00, risk_class="c3")
    return market


def refused(market: Market, command: Any) -> MarketError:
    before = market.venue.state_hash()
    with pytest.raises((RuleViolation, NotEligible)) as refusal:
        market.do(command)
    assert market.venue.state_hash() == before
    return refusal.value


def have(market: Market, account: str, quantity: int, loan_id: str = LOAN) -> None:
    market.do(sell("ORIG", 9_800, quantity, loan_id=loan_id))
    market.do(buy(account, 9_800, quantity, loan_id=loan_id))


def test_of_one_loan_counts_what_is_held_and_what_is_bid_for() -> None:
    market = under(Limits(per_loan=Minor(1_000_00)))
    have(market, "A", 400_00)
    order_id = market.do(buy("A", 9_700, 500_00)).result.order_id  # type: ignore[union-attr]
    refusal = refused(market, buy("A", 9_700, 100_01))
    assert refusal.details == {"rule": "limit_per_loan", "bound": 1_000_00, "have": 100_00, "need": 100_01}
    assert refusal.field == "order_qty"
    assert refused(market, amend("A", order_id, quantity=600_01)).details["have"] == 600_00
    market.do(amend("A", order_id, quantity=600_00))
    assert refused(market, buy("A", 9_700, 1_00)).details["have"] == 0
    market.do(buy("A", 9_700, 1_000_00, loan_id="L2"))


def test_an_amend_that_takes_less_is_not_judged() -> None:
    market = under()
    order_id = market.do(buy("A", 9_700, 900_00)).result.order_id  # type: ignore[union-attr]
    market.venue.state.loans[LOAN].rulebook = Rulebook(name="tighter", limits=Limits(per_loan=Minor(1_00)))
    market.do(amend("A", order_id, quantity=800_00))
    refused(market, amend("A", order_id, quantity=801_00))


def test_it_is_current_face_that_counts() -> None:
    market = under(Limits(per_loan=Minor(1_000_00)))
    market.do(RollDay(to=DAY.replace(month=2)))
    market.do(service(servicing("payment", DAY.replace(month=2), 888_49)))  # 9,211.51 of 10,000.00 are left
    assert refused(market, buy("A", 9_700, 1_100_00)).details["need"] == 1_013_27
    market.do(buy("A", 9_700, 1_080_00))


def test_of_one_borrower_counts_over_loans() -> None:
    market = under(Limits(per_borrower=Minor(1_000_00)))
    have(market, "A", 600_00, "L1")
    assert refused(market, buy("A", 9_700, 400_01, loan_id="L2")).details["rule"] == "limit_per_borrower"
    market.do(buy("A", 9_700, 400_00, loan_id="L2"))
    market.do(buy("A", 9_700, 1_000_00, loan_id="L3"))


def test_loans_that_do_not_name_their_borrower_are_of_as_many() -> None:
    market = under(Limits(per_borrower=Minor(1_000_00)))
    for loan_id in ("L4", "L5"):
        market.do(buy("A", 9_700, 1_000_00, loan_id=loan_id))
        refused(market, buy("A", 9_700, 1_00, loan_id=loan_id))


def test_of_one_grade_counts_as_a_share_of_cash_and_claims() -> None:
    market = under(Limits(per_grade_bp=25_00), seller_fee=FeeRule())
    have(market, "A", 1_000_00, "L1")  # at 98.00: 9,020.00 of cash and 1,000.00 of face are left
    refusal = refused(market, buy("A", 9_700, 1_505_01, loan_id="L2"))
    assert refusal.details == {"rule": "limit_per_grade", "bound": 2_505_00, "have": 1_505_00, "need": 1_505_01}
    assert "25.00 %" in str(refusal)
    market.do(buy("A", 9_700, 1_505_00, loan_id="L2"))
    market.do(buy("A", 9_700, 2_505_00, loan_id="L3"))
    market.do(deposit("A", 400_00))
    market.do(buy("A", 9_700, 100_00, loan_id="L2"))


def test_limits_are_for_investors_not_for_those_who_hold_by_trade() -> None:
    market = under(Limits(per_loan=Minor(1_00)), suitability=(("B", "c5"),))
    market.investor("M", cash=9_000_00, kind=AccountKind.MARKET_MAKER)
    market.do(buy("M", 9_700, 1_000_00))
    market.do(sell("ORIG", 9_900, 1_000_00))


@pytest.mark.parametrize(
    ("risk_class", "loan_id", "admitted"),
    [
        pytest.param("c3", "L1", True, id="the lowest class that may"),
        pytest.param("c5", "L1", True, id="a higher class"),
        pytest.param("c2", "L1", False, id="a lower class"),
        pytest.param(None, "L1", False, id="no class"),
        pytest.param(None, "L3", True, id="a grade for everybody"),
    ],
)
def test_a_grade_is_for_investors_from_a_class_on(risk_class: str | None, loan_id: str, *, admitted: bool) -> None:
    market = under(suitability=(("B", "c3"), ("D", "c5")))
    market.investor("B", cash=1_000_00, risk_class=risk_class)
    if admitted:
        market.do(buy("B", 9_700, 100_00, loan_id=loan_id))
        return
    refusal = refused(market, buy("B", 9_700, 100_00, loan_id=loan_id))
    assert isinstance(refusal, NotEligible)
    assert refusal.details["rule"] == "suitability"
    assert "c3" in str(refusal)


def test_whoever_may_not_buy_may_still_sell() -> None:
    market = under()
    have(market, "A", 100_00)
    market.venue.state.rulebooks["fit"] = Rulebook(name="fit", suitability=(("B", "c4"),))
    market.do(AssignRulebook(loan_id=LOAN, rulebook="fit"))
    market.do(sell("A", 9_800, 100_00))


def test_the_rulebook_comes_before_eligibility_and_both_before_funds() -> None:
    market = under(Limits(per_loan=Minor(1_00)), suitability=(("B", "c5"),))
    assert isinstance(refused(market, buy("A", 9_700, 9_999_999_00)), RuleViolation)
    assert isinstance(refused(under(suitability=(("B", "c5"),)), buy("A", 9_700, 9_999_999_00)), NotEligible)


def test_bids_that_a_tighter_rulebook_does_not_admit_end_the_oldest_stay() -> None:
    market = under()
    for quantity in (700_00, 400_00, 300_00):
        market.do(buy("A", 9_700, quantity))
    market.do(buy("A", 9_700, 100_00, loan_id="L2"))
    limits = Limits(per_loan=Minor(1_000_00), per_borrower=Minor(1_100_00))
    market.venue.state.rulebooks["tight"] = Rulebook(name="tight", limits=limits)
    ended = market.do(AssignRulebook(loan_id=LOAN, rulebook="tight"))
    assert reasons(ended) == [CancelReason.RULE]
    assert [order.quantity for order in market.venue.state.orders.values()] == [700_00, 300_00, 100_00]
    market.venue.state.rulebooks["fit"] = Rulebook(name="fit", suitability=(("B", "c4"),))
    assert reasons(market.do(AssignRulebook(loan_id=LOAN, rulebook="fit"))) == [CancelReason.RULE] * 2
    market.venue.state.check_invariants()


def test_under_a_rulebook_that_lets_nothing_pass_orders_end_and_none_comes_in() -> None:
    market = under()
    market.do(buy("A", 9_700, 100_00))
    market.venue.state.rulebooks["shut"] = Rulebook(name="shut", transferable=False)
    assert reasons(market.do(AssignRulebook(loan_id=LOAN, rulebook="shut"))) == [CancelReason.RULE]
    with pytest.raises(NotTransferable):
        market.do(sell("ORIG", 9_800, 100_00))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        pytest.param({"name": "no spaces"}, "name", id="name"),
        pytest.param({"tick": 0}, "tick", id="tick"),
        pytest.param({"lot": 0}, "lot", id="lot"),
        pytest.param({"price_min": 201_00, "price_max": 200_00}, "price_min", id="an empty band"),
        pytest.param({"price_max": 100_001}, "price_max", id="a band that 64 bits can't hold"),
        pytest.param({"max_discount_bp": 10_001}, "max_discount_pct", id="more than all of it"),
        pytest.param({"yield_floor_ppm": -1_000_000}, "yield_floor", id="floor"),
        pytest.param({"min_consideration": 0}, "min_consideration", id="fills for nothing"),
        pytest.param({"min_holding_days": -1}, "min_holding_days", id="holding days"),
        pytest.param({"max_transfers": 0}, "max_transfers", id="transfers"),
        pytest.param({"order_life_hours": 0}, "order_life_hours", id="life"),
        pytest.param({"tradable_statuses": frozenset()}, "tradable_statuses", id="no status"),
        pytest.param({"tradable_statuses": frozenset({"repaid"})}, "tradable_statuses", id="a closed status"),
        pytest.param({"buyer_fee": FeeRule(rate_ppm=-1)}, "fees.buyer.rate", id="a negative fee"),
        pytest.param(
            {"seller_fee": FeeRule(minimum=Minor(2), cap=Minor(1))}, "fees.seller.cap", id="cap below minimum"
        ),
        pytest.param({"limits": Limits(per_loan=Minor(0))}, "limits.per_loan", id="a limit of nothing"),
        pytest.param({"limits": Limits(per_grade_bp=100_01)}, "limits.per_grade_pct", id="more than 100 %"),
        pytest.param({"suitability": (("B", "c6"),)}, "suitability", id="an unknown class"),
        pytest.param({"suitability": (("B", "c1"), ("A", "c1"))}, "suitability", id="grades out of order"),
        pytest.param({"max_open_orders": 0}, "max_open_orders", id="no orders"),
    ],
)
def test_a_rulebook_that_makes_no_sense_can_not_be_made(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArguments) as refusal:
        Rulebook(**{"name": "new", **changed})
    assert refusal.value.field == field


def test_rulebooks_from_before_these_rules_load_and_are_hashable() -> None:
    full = Rulebook(name="n", limits=Limits(per_loan=Minor(5)), suitability=(("B", "c2"),), max_transfers=3)
    assert loads(Rulebook, dumps(full)) == full
    assert len({full, OPEN, loads(Rulebook, '{"name":"open"}')}) == 2


def reasons(applied: Any) -> list[CancelReason | None]:
    return [row.order.cancel_reason for event in applied.events if isinstance(event, Executed) for row in event.rows]
