"""Random runs: a market that is cut, seen through its router, is the market that is not, whatever is asked of it."""

import asyncio
import dataclasses
import random
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from gateway.reads.views import Views
from market.commands import (
    AccountKind,
    CancelAll,
    CancelOrder,
    Command,
    FreezeAccount,
    HaltLoan,
    Mode,
    OpenMarket,
    OrderAck,
    SetMode,
    Unblock,
    Withdraw,
)
from market.errors import MarketError
from market.events import OrderState
from market.ids import AccountId, ClientOrderId, Face, LoanId, Minor, OrderId, PriceBp
from market.orderbook.order import Side, TimeInForce
from market.partitions import partition_of
from market.port import Answer
from market.venue.state import State
from tests.builders import DAY, amend, buy, cancel, deposit, mass_quote, open_account, quote, register, sell
from tests.cut_market import USD, CutMarket, cut_market, loan_at

LOANS = [loan_at(0, 3), loan_at(1, 3), loan_at(2, 3), loan_at(1, 3, nr=1)]
ACCOUNTS = ["A", "B", "ORIG"]
GENESIS: list[Command] = [
    OpenMarket(business_date=DAY),
    open_account("HOUSE", AccountKind.HOUSE),
    open_account("ORIG", AccountKind.ORIGINATOR),
    *(register(loan_id) for loan_id in LOANS),
    open_account("A"),
    open_account("B"),
    deposit("A", 20_000_00),
    deposit("B", 20_000_00),
    open_account("MAKER", AccountKind.MARKET_MAKER),
    deposit("MAKER", 20_000_00),
]


class Twins:
    """One market uncut, one cut in three. Orders are known by the place of their command in the run."""

    def __init__(self, whole: CutMarket, cut: CutMarket) -> None:
        self.whole, self.cut = whole, cut
        self.orders: list[tuple[OrderId, OrderId]] = []

    async def do(self, command: Command) -> None:
        whole = await self.whole.outcome(command)
        cut = await self.cut.outcome(self._for_the_cut(command))
        assert self._said(cut) == self._said(whole), command
        if isinstance(whole, Answer) and isinstance(whole.result, OrderAck):
            assert isinstance(cut, Answer)
            assert isinstance(cut.result, OrderAck)
            self.orders.append((whole.result.order_id, cut.result.order_id))

    def _for_the_cut(self, command: Any) -> Any:
        order_id = getattr(command, "order_id", None)
        return command if order_id is None else dataclasses.replace(command, order_id=self._cut_id(order_id))

    def _cut_id(self, order_id: OrderId) -> OrderId:
        return dict(self.orders).get(order_id, order_id)

    @staticmethod
    def _said(told: Answer | MarketError) -> Any:
        """What was said, but for the numbers that a partition gives."""
        if isinstance(told, MarketError):
            return type(told), told.field, told.details
        numbers = {"order_id", "engine_seq"}
        return {
            field.name: getattr(told.result, field.name)
            for field in dataclasses.fields(told.result)
            if field.name not in numbers
        }


def shown(views: Views) -> dict[str, Any]:
    """What readers see, but for numbers, times and the order of things that happened in two partitions."""
    return {
        "market": (views.mode, views.business_date, views.rulebooks),
        "books": {
            loan_id: (loan.state, loan.book.rows(Side.BUY), loan.book.rows(Side.SELL), [t for _, t in _trades(loan)])
            for loan_id, loan in views.loans.items()
        },
        "accounts": {
            account_id: (
                replace(account.state, exec_seq=0),
                {currency: (cash.total, cash.held) for currency, cash in account.cash.items() if cash.total},
                account.claims,
                sorted(_plain(order) for order in account.open_orders.values()),
                sorted(_plain(each) for each in account.quotes.values()),
            )
            for account_id, account in views.accounts.items()
        },
    }


def _trades(loan: Any) -> list[tuple[int, Any]]:
    numbers = {"trade_id": 0, "buy_order_id": 0, "sell_order_id": 0}
    return [(n, replace(trade, **numbers)) for n, (_, trade) in enumerate(loan.recent)]


def _plain(order: Any) -> tuple[Any, ...]:
    values = asdict(order) if isinstance(order, OrderState) else order._asdict()
    numbers = {"order_id", "priority", "created_at", "exec_id"}
    return tuple(repr(value) for name, value in sorted(values.items()) if name not in numbers)


def command_of(rng: random.Random, orders: list[tuple[OrderId, OrderId]], n: int) -> Command:
    account, loan_id = rng.choice(ACCOUNTS), rng.choice(LOANS)
    price, quantity = rng.randint(9_690, 9_720), rng.randint(1, 60) * 100_00
    client_order_id = rng.choice([None, ClientOrderId(f"c{n}")])
    order_id = rng.choice(orders)[0] if orders else OrderId(1)
    match rng.randint(0, 15):
        case 0 | 1 | 2 | 3:
            lives = rng.choice([TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK])
            return buy(account, price, quantity, loan_id=loan_id, time_in_force=lives, client_order_id=client_order_id)
        case 4 | 5 | 6 | 7:
            return sell(account, price, quantity, loan_id=loan_id, client_order_id=client_order_id)
        case 8 | 9:
            return cancel(account, order_id)
        case 10 | 11:
            return amend(account, order_id, quantity=Face(quantity), price=PriceBp(price))
        case 12:
            named = CancelOrder(account_id=AccountId(account), client_order_id=ClientOrderId(f"c{rng.randint(0, n)}"))
            return rng.choice([named, deposit(account, 100_00, ref=f"in-{n}"), _withdraw(account, quantity, n)])
        case 13:
            asks = [quote(None, (price + rng.randint(20, 30), 100_00), loan_id=each) for each in rng.sample(LOANS, 3)]
            bids = [quote((price - rng.randint(20, 30), 100_00), None, loan_id=each) for each in rng.sample(LOANS, 3)]
            return rng.choice([mass_quote(account, *asks), mass_quote("MAKER", *bids)])
        case 14:
            return rng.choice(
                [_cancel_all(account, loan_id), _cancel_all(account, None), _block(account), _unblock(account)]
            )
        case _:
            return rng.choice(
                [
                    HaltLoan(loan_id=LoanId(loan_id), halted=rng.random() < 0.3, reason="test"),
                    SetMode(mode=rng.choice([Mode.OPEN, Mode.OPEN, Mode.POST_ONLY])),
                    FreezeAccount(account_id=AccountId(account), frozen=rng.random() < 0.3),
                    Unblock(account_id=AccountId(account)),
                ]
            )


def _withdraw(account: str, amount: int, n: int) -> Withdraw:
    return Withdraw(account_id=AccountId(account), currency=USD, amount=Minor(amount), custody_ref=f"out-{n}")


def _cancel_all(account: str, loan_id: LoanId | None) -> CancelAll:
    return CancelAll(account_id=AccountId(account), loan_id=loan_id)


def _block(account: str) -> CancelAll:
    return CancelAll(account_id=AccountId(account), side=Side.BUY, block=True)


def _unblock(account: str) -> Unblock:
    return Unblock(account_id=AccountId(account))


@pytest.mark.parametrize("seed", range(6))
async def test_asked_one_by_one_both_say_and_show_the_same(seed: int) -> None:
    rng = random.Random(seed)
    async with cut_market(1, GENESIS) as whole, cut_market(3, GENESIS) as cut:
        twins = Twins(whole, cut)
        for n in range(400):
            await twins.do(command_of(rng, twins.orders, n))
        assert cut.courier.carried, "cash was moved"
        assert len({partition_of(number) for _, number in twins.orders}) > 1
        assert shown(cut.views) == shown(whole.views)
        fresh = Views(partitions=3)
        for engine in cut.engines:
            fresh.on_snapshot(1, engine.seq, engine._venue.snapshot())
        assert {**shown(fresh), "books": None} == {**shown(cut.views), "books": None}


@pytest.mark.parametrize("seed", range(4))
async def test_asked_all_at_once_cash_is_neither_made_nor_lost_and_each_is_answered_once(seed: int) -> None:
    rng = random.Random(seed)
    async with cut_market(3, GENESIS) as cut:
        orders: list[tuple[OrderId, OrderId]] = []
        moved = 0
        for wave in range(12):
            commands = [command_of(rng, orders, 100 * wave + n) for n in range(60)]
            answers = await asyncio.wait_for(asyncio.gather(*map(cut.outcome, commands)), 20)
            acks = [answer.result for answer in answers if isinstance(answer, Answer)]
            orders += [(ack.order_id, ack.order_id) for ack in acks if isinstance(ack, OrderAck)]
            for command, answer in zip(commands, answers, strict=True):
                if isinstance(answer, Answer) and not getattr(answer.result, "duplicate", False):
                    moved += command.amount if type(command).__name__ == "Deposit" else 0
                    moved -= command.amount if isinstance(command, Withdraw) else 0
        states: list[State] = [engine._venue.state for engine in cut.engines]
        for state in states:
            state.check_invariants()
        totals = sum(account.cash[USD].total for state in states for account in state.accounts.values())
        assert totals == 60_000_00 + moved
        for account_id in ("A", "B", "ORIG", "MAKER"):
            lines = [state.accounts[AccountId(account_id)].cash[USD] for state in states]
            assert cut.cash(account_id) == (sum(line.total for line in lines), sum(line.held for line in lines))
        assert cut.courier.carried > 3
