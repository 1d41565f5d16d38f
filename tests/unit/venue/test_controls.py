"""What an account may switch for good: its kill switch, and the fence around an id that has no order."""

import pytest

from market.commands import CancelAll, CheckOrder, CountAck, Done, Fenced, OrderAck, ResolveOrder, Unblock
from market.errors import DuplicateId, KillSwitch
from market.events import Executed, IdFenced
from market.ids import AccountId, ClientOrderId
from market.orderbook.order import CancelReason
from market.venue.venue import Venue
from tests.builders import Market, amend, buy, cancel, sell

BUYER = AccountId("BUYER")


@pytest.fixture
def market() -> Market:
    market = Market()
    market.investor("BUYER", 5_000_00)
    return market


def placed(market: Market, price: int) -> int:
    result = market.do(buy("BUYER", price, 10_00)).result
    assert isinstance(result, OrderAck)
    return result.order_id


def test_the_kill_switch_ends_all_orders_and_lets_none_in_until_it_is_undone(market: Market) -> None:
    for price in (9_600, 9_700):
        placed(market, price)
    applied = market.do(CancelAll(account_id=BUYER, block=True))
    assert applied.result == CountAck(count=2)
    reasons = [row.order.cancel_reason for event in applied.events if isinstance(event, Executed) for row in event.rows]
    assert reasons == [CancelReason.KILL_SWITCH] * 2
    for command in (buy("BUYER", 9_600, 10_00), CheckOrder(order=buy("BUYER", 9_600, 10_00))):
        with pytest.raises(KillSwitch):
            market.do(command)
    market.do(sell("ORIG", 9_800, 10_00))
    assert market.do(Unblock(account_id=BUYER)).result == Done()
    assert market.do(Unblock(account_id=BUYER)).result == Done(duplicate=True)
    placed(market, 9_600)


def test_a_kill_switch_with_a_filter_leaves_orders_that_can_be_cancelled_but_not_amended(market: Market) -> None:
    order_id = placed(market, 9_600)
    market.do(CancelAll(account_id=BUYER, tag="other", block=True))
    with pytest.raises(KillSwitch):
        market.do(amend("BUYER", order_id, quantity=5_00))
    market.do(cancel("BUYER", order_id))


def test_an_id_without_an_order_is_used_up_once_that_was_said(market: Market) -> None:
    late = buy("BUYER", 9_600, 10_00, client_order_id=ClientOrderId("late"))
    question = ResolveOrder(account_id=BUYER, client_order_id=ClientOrderId("late"))
    applied = market.do(question)
    assert applied.result == Fenced()
    assert applied.events == (IdFenced(account_id=BUYER, client_order_id=ClientOrderId("late")),)
    assert market.do(question).events == (), "asking again changes nothing"
    with pytest.raises(DuplicateId):
        market.do(late)
    venue = market.venue
    restored = Venue.restore(venue.seq, venue.snapshot(), last_trade_id=venue.state.last_trade_id)
    assert restored.state_hash() == venue.state_hash()
    assert "late" in restored.state.accounts[BUYER].fenced_ids


def test_an_id_with_an_order_is_answered_with_it(market: Market) -> None:
    first = market.do(buy("BUYER", 9_600, 10_00, client_order_id=ClientOrderId("c"))).result
    told = market.do(ResolveOrder(account_id=BUYER, client_order_id=ClientOrderId("c")))
    assert isinstance(first, OrderAck)
    assert isinstance(told.result, OrderAck)
    assert (told.result.order_id, told.result.duplicate, told.events) == (first.order_id, True, ())


def test_a_fence_is_of_one_account(market: Market) -> None:
    market.do(ResolveOrder(account_id=BUYER, client_order_id=ClientOrderId("c")))
    assert isinstance(market.do(sell("ORIG", 9_800, 10_00, client_order_id=ClientOrderId("c"))).result, OrderAck)
