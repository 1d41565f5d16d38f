"""Several engines seen as one: where a command goes, how answers are joined, and where the cash for it comes from."""

import asyncio
from typing import Any

import pytest

from market.commands import (
    AccountKind,
    CancelAll,
    CancelOrder,
    CancelQuotes,
    CheckOrder,
    Command,
    CountAck,
    Done,
    Fenced,
    FreezeAccount,
    Mode,
    OpenMarket,
    OrderAck,
    OrderPriced,
    QuoteAck,
    Refusal,
    ResolveOrder,
    RollDay,
    SetDefaultRulebook,
    SetMode,
    Unblock,
    Withdraw,
)
from market.errors import (
    DuplicateId,
    InsufficientFunds,
    InvalidArguments,
    KillSwitch,
    OutcomeUnknown,
    Unavailable,
    UnknownLoan,
    UnknownOrder,
)
from market.ids import AccountId, ClientOrderId, Face, Minor
from market.orderbook.order import OrderType
from market.partitions import STRIDE, partition_of
from market.port import Answer
from market.routing.router import Router
from tests.builders import (
    DAY,
    amend,
    buy,
    cancel,
    deposit,
    mass_quote,
    open_account,
    quote,
    register,
    sell,
    service,
    servicing,
)
from tests.cut_market import USD, CutMarket, cut_market, loan_at
from tests.unit.test_engine import until

HERE, THERE = loan_at(0), loan_at(1)  # loans of partition 0 and of partition 1
A, ORIG = AccountId("A"), AccountId("ORIG")
GENESIS: list[Command] = [
    OpenMarket(business_date=DAY),
    open_account("HOUSE", AccountKind.HOUSE),
    open_account("ORIG", AccountKind.ORIGINATOR),
    register(HERE),
    register(THERE),
    open_account("A"),
    deposit("A", 5_000_00),
]


def cut(partitions: int = 2) -> Any:
    return cut_market(partitions, GENESIS)


def withdraw(amount: int, ref: str = "out") -> Withdraw:
    return Withdraw(account_id=A, currency=USD, amount=Minor(amount), custody_ref=ref)


def order_of(answer: Answer) -> OrderAck:
    assert isinstance(answer.result, OrderAck)
    return answer.result


async def test_an_order_goes_where_its_loan_is_and_what_names_it_follows_its_number() -> None:
    async with cut() as market:
        for partition, loan_id in enumerate((HERE, THERE)):
            placed = order_of(await market.do(sell("ORIG", 9_900, 100_00, loan_id=loan_id)))
            assert placed.order_id // STRIDE == partition
            changed = await market.do(amend("ORIG", placed.order_id, quantity=Face(50_00)))
            assert partition_of(changed.seq) == partition
            assert order_of(await market.do(cancel("ORIG", placed.order_id))).order_status == "canceled"
        assert isinstance(await market.outcome(cancel("ORIG", 17 * STRIDE)), UnknownOrder)
        assert isinstance(await market.outcome(sell("ORIG", 9_900, 100_00, loan_id="NOWHERE")), UnknownLoan)


async def test_an_order_on_a_loan_that_is_only_being_registered_gets_its_cash() -> None:
    async with cut() as market:
        fresh = loan_at(1, nr=1)
        replies: list[Any] = []
        market.port.send(register(fresh), actor="t", reply=replies.append)
        market.port.send(buy("A", 9_000, 10_00, loan_id=fresh), actor="t", reply=replies.append)
        await until(lambda: len(replies) == 2)
        assert order_of(replies[1]).order_status == "new"


async def test_a_client_order_id_is_found_wherever_its_order_is_also_before_that_was_heard() -> None:
    async with cut() as market:
        named = ClientOrderId("mine")
        replies: list[Any] = []
        market.port.send(
            sell("ORIG", 9_900, 100_00, loan_id=THERE, client_order_id=named), actor="t", reply=replies.append
        )
        market.port.send(
            CancelOrder(account_id=AccountId("ORIG"), client_order_id=named), actor="t", reply=replies.append
        )
        await until(lambda: len(replies) == 2)
        assert [order_of(reply).order_status for reply in replies] == ["new", "canceled"]
        again = await market.do(sell("ORIG", 9_900, 100_00, loan_id=THERE, client_order_id=named))
        assert order_of(again).duplicate
        unknown = CancelOrder(account_id=AccountId("ORIG"), client_order_id=ClientOrderId("nobody's"))
        assert isinstance(await market.outcome(unknown), UnknownOrder)


async def test_the_client_order_id_of_an_open_order_is_good_for_no_order_of_another_partition() -> None:
    async with cut() as market:
        first = buy("A", 9_000, 10_00, loan_id=HERE, client_order_id="c")
        other = buy("A", 9_000, 10_00, loan_id=THERE, client_order_id="c")
        open_order = order_of(await market.do(first))
        assert isinstance(await market.outcome(other), DuplicateId)
        assert isinstance(await market.outcome(CheckOrder(order=other)), DuplicateId)
        assert order_of(await market.do(first)).duplicate, "a repeat is none"
        assert order_of(await market.do(buy("A", 9_000, 10_00, loan_id=THERE, client_order_id="d"))).order_id
        someone = sell("ORIG", 9_900, 10_00, loan_id=THERE, client_order_id="c")
        assert order_of(await market.do(someone)).order_status == "new", "of another account"
        cancelled = await market.do(CancelOrder(account_id=A, client_order_id=ClientOrderId("c")))
        assert order_of(cancelled).order_id == open_order.order_id


async def test_what_became_of_a_client_order_id_is_said_by_the_partition_that_knows_and_fenced_in_all() -> None:
    async with cut() as market:
        named = ClientOrderId("mine")
        await market.do(sell("ORIG", 9_900, 100_00, loan_id=THERE, client_order_id=named))
        found = await market.do(ResolveOrder(account_id=AccountId("ORIG"), client_order_id=named))
        assert order_of(found).duplicate
        never = ResolveOrder(account_id=A, client_order_id=ClientOrderId("never"))
        assert isinstance((await market.do(never)).result, Fenced)
        for loan_id in (HERE, THERE):
            late = await market.outcome(buy("A", 9_000, 10_00, loan_id=loan_id, client_order_id=ClientOrderId("never")))
            assert type(late).__name__ == "DuplicateId"


async def test_what_all_must_know_is_known_to_all_and_may_be_repeated() -> None:
    async with cut() as market:
        opened = await market.do(open_account("B"))
        assert opened.result == Done()
        assert (await market.do(open_account("B"))).result == Done(duplicate=True)
        assert all(AccountId("B") in engine._venue.state.accounts for engine in market.engines)
        await market.do(SetMode(mode=Mode.HALTED))
        assert [engine._venue.state.mode for engine in market.engines] == [Mode.HALTED] * 2
        assert (market.views.mode, partition_of(opened.seq)) == (Mode.HALTED, 0)
        refused = await market.outcome(open_account("not a name!"))
        assert isinstance(refused, InvalidArguments)


async def test_a_day_that_an_engine_has_begun_by_itself_is_begun() -> None:
    async with cut() as market:
        tomorrow = RollDay(to=DAY.replace(day=16))
        await market.engines[1].submit(tomorrow, actor="the eye on the first partition")
        assert (await market.do(tomorrow)).result == Done()
        assert [engine._venue.state.today for engine in market.engines] == [tomorrow.to] * 2
        assert isinstance(await market.outcome(tomorrow), InvalidArguments)


async def test_while_a_partition_is_away_the_loans_of_the_others_are_traded() -> None:
    async with cut() as market:
        market.engines[1].stop()
        await until(lambda: len({*market.port.phases}) == 2)
        assert isinstance(await market.outcome(sell("ORIG", 9_900, 100_00, loan_id=THERE)), Unavailable)
        placed = await market.do(sell("ORIG", 9_900, 100_00, loan_id=HERE, client_order_id=ClientOrderId("here")))
        found = await market.do(ResolveOrder(account_id=ORIG, client_order_id=ClientOrderId("here")))
        assert order_of(found).order_id == order_of(placed).order_id
        nowhere = ResolveOrder(account_id=ORIG, client_order_id=ClientOrderId("nowhere"))
        assert isinstance(await market.outcome(nowhere), OutcomeUnknown), "it may be where nobody answers"
        assert isinstance(await market.outcome(CancelAll(account_id=ORIG)), OutcomeUnknown)
        assert not market.views.account(ORIG).open_orders, "what could be cancelled was"


async def test_while_a_partition_is_away_it_is_told_later_what_it_finds_out_and_the_rest_is_refused() -> None:
    async with cut() as market:
        market.engines[1].stop()
        await until(lambda: len({*market.port.phases}) == 2)
        for command in (open_account("B"), SetMode(mode=Mode.HALTED), FreezeAccount(account_id=A, frozen=True)):
            assert (await market.do(command)).result == Done()
        assert AccountId("B") in market.engines[0]._venue.state.accounts
        assert isinstance(await market.outcome(Unblock(account_id=A)), Unavailable)
        moving = SetDefaultRulebook(account_id=ORIG, rulebook="open", move=True)
        assert isinstance(await market.outcome(moving), Unavailable)
        market.engines[0].stop()
        await until(lambda: len({*market.port.phases}) == 1)
        assert isinstance(await market.outcome(open_account("C")), Unavailable)


async def test_cancels_are_summed_up_and_the_kill_switch_is_thrown_everywhere() -> None:
    async with cut() as market:
        for loan_id in (HERE, HERE, THERE):
            await market.do(sell("ORIG", 9_900, 100_00, loan_id=loan_id))
        sides = [quote((9_000, 10_00), (9_800, 10_00), loan_id=loan_id) for loan_id in (HERE, THERE)]
        await market.do(mass_quote("ORIG", *sides))
        only_there = await market.do(CancelAll(account_id=ORIG, loan_id=THERE))
        assert only_there.result == CountAck(count=1, quotes=1)
        gone = await market.do(CancelQuotes(account_id=ORIG, loan_ids=(HERE, THERE)))
        assert gone.result == CountAck(count=0, quotes=1)
        assert (await market.do(CancelAll(account_id=ORIG, loan_id=HERE, block=True))).result == CountAck(count=2)
        for loan_id in (HERE, THERE):
            assert isinstance(await market.outcome(sell("ORIG", 9_900, 100_00, loan_id=loan_id)), KillSwitch)
        await market.do(Unblock(account_id=ORIG))
        order_of(await market.do(sell("ORIG", 9_900, 100_00, loan_id=THERE)))


async def test_a_mass_quote_is_split_by_loan_and_answered_in_its_order() -> None:
    async with cut() as market:
        loans = (THERE, HERE, "NOWHERE")
        answer = await market.do(mass_quote("ORIG", *(quote(None, (9_800, 10_00), loan_id=each) for each in loans)))
        assert isinstance(answer.result, QuoteAck)
        asks = [outcome.ask for outcome in answer.result.quotes]
        assert asks[:2] == [True, True]
        assert isinstance(asks[2], Refusal)
        assert asks[2].error == "UnknownLoan"
        twice = mass_quote("ORIG", *(quote(None, (9_800, 10_00), loan_id=each) for each in (THERE, HERE, THERE)))
        assert isinstance(await market.outcome(twice), InvalidArguments)
        assert {order.price for order in market.views.account(AccountId("ORIG")).quotes.values()} == {9_800}


async def test_the_quotes_of_a_partition_that_is_away_are_refused_by_the_side() -> None:
    async with cut() as market:
        market.engines[1].stop()
        await until(lambda: len({*market.port.phases}) == 2)
        answer = await market.do(
            mass_quote("ORIG", *(quote(None, (9_800, 10_00), loan_id=each) for each in (THERE, HERE)))
        )
        assert isinstance(answer.result, QuoteAck)
        [there, here] = answer.result.quotes
        assert (there.bid, here) == (None, (None, True))
        assert isinstance(there.ask, Refusal)
        assert there.ask.error == "Unavailable"


async def test_servicing_that_spans_partitions_is_refused_whole() -> None:
    async with cut() as market:
        events = [servicing("missed", DAY, loan_id=loan_id) for loan_id in (HERE, THERE)]
        refused = await market.outcome(service(*events))
        assert isinstance(refused, InvalidArguments)
        assert refused.details == {"partitions": "0 1"}


async def test_a_buy_where_the_account_has_no_cash_brings_it_there() -> None:
    async with cut() as market:
        await market.do(sell("ORIG", 9_900, 1_000_00, loan_id=THERE))
        bought = order_of(await market.do(buy("A", 9_900, 1_000_00, loan_id=THERE)))
        assert bought.order_status == "filled"
        total, held = market.cash("A")
        assert (5_000_00 - total, held) == (990_00, 0)
        assert sum(market.line(k, "A")[0] for k in range(2)) == total
        assert market.courier.carried == 1
        await market.do(buy("A", 9_000, 1_000_00, loan_id=THERE))
        assert market.courier.carried == 1, "more came than was wanted"


async def test_cash_that_came_meanwhile_is_found_without_a_move() -> None:
    async with cut() as market:
        orders = [buy("A", 9_000, 10_00, loan_id=THERE) for _ in range(3)]
        answers = await asyncio.gather(*map(market.outcome, orders))
        assert [order_of(answer).order_status for answer in answers if isinstance(answer, Answer)] == ["new"] * 3
        assert market.courier.carried == 1


async def test_a_check_an_amendment_and_a_withdrawal_bring_it_too() -> None:
    async with cut() as market:
        checked = await market.do(CheckOrder(order=buy("A", 9_900, 1_000_00, loan_id=THERE)))
        assert isinstance(checked.result, OrderPriced)
        placed = order_of(await market.do(buy("A", 9_000, 1_000_00, loan_id=THERE)))
        grown = order_of(await market.do(amend("A", placed.order_id, quantity=Face(5_000_00))))
        assert grown.version == 2
        await market.do(cancel("A", placed.order_id))
        assert (await market.do(withdraw(5_000_00))).result == Done()
        assert market.cash("A") == (0, 0)


async def test_what_the_account_has_not_in_all_its_lines_is_refused_with_what_it_has_in_all() -> None:
    async with cut() as market:
        await market.do(buy("A", 9_000, 1_000_00, loan_id=THERE))
        held = market.cash("A")[1]
        for command in (buy("A", 9_900, 5_000_00, loan_id=THERE), withdraw(5_000_00)):
            refused = await market.outcome(command)
            assert isinstance(refused, InsufficientFunds)
            assert refused.details["have"] == 5_000_00 - held
        assert market.cash("A") == (5_000_00, held)


async def test_a_market_order_gets_all_that_is_free() -> None:
    async with cut() as market:
        await market.do(sell("ORIG", 9_900, 1_000_00, loan_id=THERE))
        bought = order_of(await market.do(buy("A", None, 500_00, loan_id=THERE, order_type=OrderType.MARKET)))
        assert (bought.order_status, bought.filled) == ("filled", 500_00)


async def test_bids_without_cash_are_quoted_again_once_it_has_come() -> None:
    async with cut() as market:
        other = loan_at(1, nr=1)
        await market.do(register(other))
        sides = [quote((9_000, 1_000_00), None, loan_id=loan_id) for loan_id in (HERE, THERE, other)]
        answer = await market.do(mass_quote("A", *sides))
        assert isinstance(answer.result, QuoteAck)
        assert [outcome.bid for outcome in answer.result.quotes] == [True] * 3
        assert len(market.views.account(A).quotes) == 3


async def test_what_is_cancelled_while_cash_is_on_its_way_is_not_placed_any_more() -> None:
    async with cut() as market:
        market.courier.is_away = True
        waiting = asyncio.create_task(market.outcome(buy("A", 9_000, 1_000_00, loan_id=THERE)))
        await until(lambda: bool(market.courier._kept))
        await market.do(CancelAll(account_id=A))
        market.courier.come_back()
        assert isinstance(await waiting, InsufficientFunds)
        assert not market.views.account(A).open_orders
        assert market.cash("A") == (5_000_00, 0)


async def test_cash_that_does_not_arrive_in_time_is_said_to_be_on_its_way_and_is_shown_all_the_while() -> None:
    async with cut() as market:
        market.courier.is_away = True
        refused = await market.outcome(buy("A", 9_000, 1_000_00, loan_id=THERE))
        assert isinstance(refused, Unavailable)
        assert sum(market.line(k, "A")[0] for k in range(2)) < 5_000_00
        assert market.cash("A") == (5_000_00, 0)
        market.courier.come_back()
        order_of(await market.do(buy("A", 9_000, 1_000_00, loan_id=THERE)))


async def test_cash_in_a_partition_that_is_away_is_not_said_to_be_missing() -> None:
    async with cut() as market:
        market.engines[0].stop()
        await until(lambda: len({*market.port.phases}) == 2)
        assert isinstance(await market.outcome(buy("A", 9_000, 1_000_00, loan_id=THERE)), Unavailable)
        assert isinstance(await market.outcome(buy("A", 9_000, 9_000_00, loan_id=THERE)), InsufficientFunds)


async def test_those_that_wait_for_the_same_cash_do_not_wait_one_after_the_other() -> None:
    async with cut() as market:
        market.courier.is_away = True
        orders = [buy("A", 9_000, 1_000_00, loan_id=THERE) for _ in range(20)]
        answers = await asyncio.wait_for(asyncio.gather(*map(market.outcome, orders)), 5)
        assert {type(answer) for answer in answers} == {Unavailable}
        market.courier.come_back()


async def test_many_orders_at_once_that_lack_cash_are_all_placed() -> None:
    async with cut() as market:
        orders = [buy("A", 9_000, 10_00, loan_id=THERE) for _ in range(40)]
        answers = await asyncio.gather(*map(market.outcome, orders))
        assert all(isinstance(answer, Answer) for answer in answers)
        assert market.courier.carried < 5
        assert len(market.views.account(A).open_orders) == 40


async def test_commands_that_are_joined_are_one_commit_in_each_partition() -> None:
    async with cut() as market:
        logs = [len(store.log) for store in market.stores]
        told: list[Any] = []
        for n, loan_id in enumerate((HERE, THERE, HERE, THERE)):
            market.port.send(sell("ORIG", 9_900, 10_00, loan_id=loan_id), actor="t", reply=told.append, joined=n > 0)
        joined = [[request.joined for request in engine._inbox] for engine in market.engines]
        assert joined == [[False, True], [False, True]]
        await until(lambda: len(told) == 4)
        assert [len(store.log) - before for store, before in zip(market.stores, logs, strict=True)] == [2, 2]


async def test_a_freeze_stops_an_account_everywhere() -> None:
    async with cut() as market:
        await market.do(buy("A", 9_000, 100_00, loan_id=THERE))
        await market.do(FreezeAccount(account_id=A, frozen=True))
        assert not market.views.account(A).open_orders
        assert market.views.account(A).state.frozen


@pytest.mark.parametrize("command", [buy("A", 9_000, 100_00, loan_id=THERE), deposit("A", 1)])
async def test_a_router_of_engines_that_have_stopped_refuses_at_once(command: Command) -> None:
    market = CutMarket(2)
    assert isinstance(market.port, Router)
    with pytest.raises(Unavailable):
        market.port.send(command, actor="t", reply=lambda _: None)
