"""The worked example of docs/rulebooks.md, day by day."""

from datetime import date
from pathlib import Path

import pytest

from market.commands import RegisterLoan, RollDay
from market.errors import InsufficientClaims, RuleViolation
from market.events import Traded
from market.ids import AccountId, Face
from market.orderbook.order import Side
from tests.builders import DAY, LOAN, Market, buy, sell, service, servicing, terms

DOCS = Path(__file__).resolve().parents[3] / "docs" / "rulebooks.md"


def rule_of(market: Market, quantity: int = 600_00) -> tuple[object, object]:
    with pytest.raises(RuleViolation) as refusal:
        market.do(sell("A", 9_900, quantity))
    return refusal.value.details["rule"], refusal.value.details.get("have")


def traded(market: Market, seller: str, buyer: str, price: int, quantity: int) -> tuple[int, ...]:
    market.do(sell(seller, price, quantity))
    [trade] = [event for event in market.do(buy(buyer, price, quantity)).events if isinstance(event, Traded)]
    assert trade.taker_side is Side.BUY
    return trade.principal, trade.accrued, trade.seller_fee


def lots_of(market: Market, account: str) -> list[tuple[date, int, int]]:
    return [tuple(lot) for lot in market.venue.state.accounts[AccountId(account)].claims[LOAN].lots]  # type: ignore[misc]


def test_a_day_under_cn_strict() -> None:
    market = Market(loans=())
    market.do(RegisterLoan(terms=terms(), issued_face=Face(10_000_00), rulebook="cn-strict"))
    for name in "AB":
        market.investor(name, cash=5_000_00)

    assert traded(market, "ORIG", "A", 9_800, 1_000_00) == (980_00, 0, 2_94)
    assert rule_of(market) == ("min_holding_days", 0)
    market.do(RollDay(to=date(2024, 2, 14)))
    assert rule_of(market) == ("blackout_days", None)

    market.do(RollDay(to=date(2024, 2, 15)))
    market.do(service(servicing("payment", date(2024, 2, 15), 888_49)))
    market.do(RollDay(to=date(2024, 2, 16)))
    assert traded(market, "A", "B", 9_900, 600_00) == (547_16, 19, 1_64)
    assert lots_of(market, "A") == [(DAY, 1, 400_00)]
    assert lots_of(market, "B") == [(date(2024, 2, 16), 2, 600_00)]
    with pytest.raises(InsufficientClaims):
        market.do(sell("A", 9_900, 500_00))

    market.do(RollDay(to=date(2024, 3, 15)))
    market.do(service(servicing("payment", date(2024, 3, 15), 888_49)))
    market.do(RollDay(to=date(2024, 3, 16)))
    with pytest.raises(RuleViolation):
        market.do(sell("B", 9_900, 600_00))
    market.do(RollDay(to=date(2024, 3, 17)))
    market.do(sell("B", 9_900, 600_00))


@pytest.mark.parametrize("shown", ["980.00", "2.94", "547.16", "0.19", "1.64", "2024-03-17", "1,505.00"])
def test_the_page_shows_the_numbers_that_are_tested(shown: str) -> None:
    assert shown in DOCS.read_text(encoding="utf-8")
