"""Holding days and transfers, judged by lots: what a claim was acquired by, and what of it may be sold."""

from datetime import date, timedelta
from typing import Any

import pytest

from market.commands import AssignRulebook, RollDay
from market.errors import InsufficientClaims, InvariantViolation, RuleViolation
from market.events import Executed
from market.ids import AccountId, Face
from market.orderbook.order import CancelReason, OrderType
from market.venue import lots
from market.venue.lots import Lot
from market.venue.rulebook import Rulebook
from market.venue.venue import Venue
from tests.builders import DAY, LOAN, Market, amend, buy, cancel, sell

HELD = Rulebook(name="held", min_holding_days=30)
TWICE = Rulebook(name="twice", max_transfers=2)


def under(rules: Rulebook, market: Market | None = None) -> Market:
    """The usual market, its loan under `rules`, with three investors: A bought 1,000.00 of it on the first day."""
    market = market or Market()
    market.venue.state.rulebooks[rules.name] = rules
    for name in "ABC":
        market.investor(name, cash=20_000_00)
    trade(market, "ORIG", "A", 1_000_00)
    market.do(AssignRulebook(loan_id=LOAN, rulebook=rules.name))
    return market


def trade(market: Market, seller: str, buyer: str, quantity: int) -> None:
    market.do(sell(seller, 9_800, quantity))
    market.do(buy(buyer, 9_800, quantity))
    market.venue.state.check_invariants()


def lots_of(market: Market, account: str) -> list[tuple[int, int, int]]:
    """(days after the first one, transfers, face)"""
    claim = market.venue.state.accounts[AccountId(account)].claims[LOAN]
    return [((lot.acquired - DAY).days, lot.transfers, lot.face) for lot in claim.lots]


def refused(market: Market, command: Any) -> RuleViolation:
    before = market.venue.state_hash()
    with pytest.raises(RuleViolation) as refusal:
        market.do(command)
    assert market.venue.state_hash() == before
    return refusal.value


def test_a_lot_bears_the_day_of_its_trade_and_one_transfer_more() -> None:
    market = Market()
    market.investor("A", cash=9_000_00)
    market.investor("B", cash=9_000_00)
    trade(market, "ORIG", "A", 1_000_00)
    market.do(RollDay(to=DAY + timedelta(days=3)))
    trade(market, "ORIG", "A", 500_00)
    trade(market, "A", "B", 1_200_00)
    assert lots_of(market, "ORIG") == [(0, 0, 8_500_00)]
    assert lots_of(market, "A") == [(3, 1, 300_00)]
    assert lots_of(market, "B") == [(3, 2, 1_200_00)]


def test_purchases_of_one_day_and_history_are_one_lot_whatever_their_order() -> None:
    one: list[Lot] = []
    other: list[Lot] = []
    acquisitions = [(DAY, 2, 5), (DAY, 1, 7), (DAY - timedelta(1), 3, 1), (DAY, 2, 10)]
    for day, transfers, face in acquisitions:
        lots.add(one, day, transfers, Face(face))
    for day, transfers, face in reversed(acquisitions):
        lots.add(other, day, transfers, Face(face))
    assert one == other == [(DAY - timedelta(1), 3, 1), (DAY, 1, 7), (DAY, 2, 15)]
    assert lots.are_in_order(one)


def test_a_sale_takes_eligible_lots_oldest_first() -> None:
    held = [Lot(DAY, 2, Face(10)), Lot(DAY + timedelta(1), 1, Face(20)), Lot(DAY + timedelta(2), 1, Face(30))]
    taken = lots.take(held, Face(25), TWICE, DAY + timedelta(9))
    assert taken == [(DAY + timedelta(1), 1, 20), (DAY + timedelta(2), 1, 5)]
    assert held == [(DAY, 2, 10), (DAY + timedelta(2), 1, 25)]
    with pytest.raises(InvariantViolation):
        lots.take(held, Face(26), TWICE, DAY + timedelta(9))


def test_a_claim_that_was_bought_is_kept_for_the_holding_days() -> None:
    market = under(HELD)
    market.do(RollDay(to=DAY + timedelta(days=29)))
    refusal = refused(market, sell("A", 9_800, 100_00))
    assert refusal.details == {"rule": "min_holding_days", "have": 0, "need": 100_00}
    market.do(RollDay(to=DAY + timedelta(days=30)))
    trade(market, "A", "B", 1_000_00)
    assert refused(market, sell("B", 9_800, 100_00)).details["rule"] == "min_holding_days"


def test_face_as_issued_has_nothing_to_wait_for() -> None:
    trade(under(HELD), "ORIG", "B", 1_000_00)


def test_a_sale_is_admitted_up_to_what_older_lots_have_and_other_sells_leave() -> None:
    market = under(HELD)
    market.do(RollDay(to=DAY + timedelta(days=30)))
    trade(market, "ORIG", "A", 500_00)  # too young, beside 1,000.00 that are not
    first = market.do(sell("A", 9_900, 700_00)).result.order_id  # type: ignore[union-attr]
    assert refused(market, sell("A", 9_900, 301_00)).details["have"] == 300_00
    assert refused(market, amend("A", first, quantity=1_001_00)).details["have"] == 1_000_00
    market.do(amend("A", first, quantity=1_000_00))
    assert refused(market, sell("A", None, 1_00, order_type=OrderType.MARKET)).details["have"] == 0
    market.do(buy("B", 9_900, 1_000_00))
    assert lots_of(market, "A") == [(30, 1, 500_00)]


def test_more_than_is_held_is_a_matter_of_holdings_where_all_of_it_may_be_sold() -> None:
    market = under(HELD)
    market.do(RollDay(to=DAY + timedelta(days=30)))
    for account in "AC":
        with pytest.raises(InsufficientClaims):
            market.do(sell(account, 9_800, 1_000_01))


def test_a_claim_is_assigned_so_many_times_at_most() -> None:
    market = under(TWICE)  # first transfer: to A
    trade(market, "A", "B", 600_00)  # second
    refusal = refused(market, sell("B", 9_800, 100_00))
    assert refusal.details == {"rule": "max_transfers", "have": 0, "need": 100_00}
    trade(market, "ORIG", "B", 200_00)  # another first
    assert refused(market, sell("B", 9_800, 201_00)).details["have"] == 200_00
    trade(market, "B", "C", 200_00)
    assert lots_of(market, "B") == [(0, 2, 600_00)]


def test_a_resting_sell_ends_when_another_rulebook_does_not_admit_its_lots_the_oldest_stays() -> None:
    market = under(Rulebook(name="free"))
    trade(market, "ORIG", "A", 500_00)
    for quantity in (800_00, 300_00, 400_00):
        market.do(sell("A", 9_900, quantity))
    market.do(RollDay(to=DAY + timedelta(days=29)))
    market.venue.state.rulebooks["held"] = Rulebook(name="held", min_holding_days=29)
    assert market.do(AssignRulebook(loan_id=LOAN, rulebook="held")).events  # all of it was held long enough
    assert [order.quantity for order in market.venue.state.orders.values()] == [800_00, 300_00, 400_00]
    market.venue.state.rulebooks["held"] = HELD
    ended = market.do(AssignRulebook(loan_id=LOAN, rulebook="held"))
    assert reasons(ended) == [CancelReason.RULE] * 3
    market.venue.state.check_invariants()


def test_of_several_sells_those_stay_that_fit_the_eligible_face() -> None:
    market = under(Rulebook(name="free"))
    market.do(RollDay(to=DAY + timedelta(days=30)))
    trade(market, "ORIG", "A", 500_00)
    for quantity in (800_00, 300_00, 200_00):
        market.do(sell("A", 9_900, quantity))
    market.venue.state.rulebooks["held"] = HELD
    assert reasons(market.do(AssignRulebook(loan_id=LOAN, rulebook="held"))) == [CancelReason.RULE]
    assert [order.quantity for order in market.venue.state.orders.values()] == [800_00, 200_00]
    market.venue.state.check_invariants()


def test_lots_are_part_of_the_state_and_survive_a_restore() -> None:
    market = under(HELD)
    market.do(RollDay(to=date(2024, 2, 14)))
    venue = market.venue
    restored = Venue.restore(venue.seq, venue.snapshot(), last_trade_id=venue.state.last_trade_id)
    assert restored.state_hash() == venue.state_hash()
    restored.state.accounts[AccountId("A")].claims[LOAN].lots[0] = Lot(DAY, 2, Face(1_000_00))
    assert restored.state_hash() != venue.state_hash()


def test_a_canceled_sell_leaves_its_lots() -> None:
    market = under(HELD)
    market.do(RollDay(to=DAY + timedelta(days=30)))
    order_id = market.do(sell("A", 9_900, 1_000_00)).result.order_id  # type: ignore[union-attr]
    market.do(cancel("A", order_id))
    market.do(sell("A", 9_900, 1_000_00))
    assert lots_of(market, "A") == [(0, 1, 1_000_00)]


def reasons(applied: Any) -> list[CancelReason | None]:
    return [row.order.cancel_reason for event in applied.events if isinstance(event, Executed) for row in event.rows]
