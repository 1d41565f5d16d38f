"""Made-up trading for a stack under test."""

import asyncio
import random

from market.commands import AmendOrder, CancelAll, CancelOrder, Command
from market.errors import MarketError
from market.ids import AccountId, Face, LoanId, OrderId, PriceBp
from tests.builders import buy, deposit, open_account, sell
from tests.e2e.stack import Stack


class Traders:
    """Two accounts that place, amend and cancel at random, several commands under way at once."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.stack, self.rng = stack, random.Random(seed)
        self.orders: dict[OrderId, AccountId] = {}

    async def open(self) -> None:
        await self.stack.do(open_account("A"), deposit("A", 100_000_000_00))
        for loan_id in ("L1", "L2"):
            await self.stack.do(buy("A", 9_900, 4_000_00, loan_id=loan_id))
            await self.stack.do(sell("ORIG", 9_900, 4_000_00, loan_id=loan_id))

    async def trade(self, commands: int, *, at_once: int = 20) -> None:
        for _ in range(0, commands, at_once):
            await asyncio.gather(*(self._one() for _ in range(at_once)))

    async def _one(self) -> None:
        command = self._command()
        try:
            answer = await self.stack.engine.submit(command, actor="test")
        except MarketError:
            return
        order_id = getattr(answer.result, "order_id", None)
        if order_id is not None and isinstance(command, type(buy("A", 1, 1))):
            self.orders[order_id] = command.account_id

    def _command(self) -> Command:
        rng = self.rng
        account, loan_id = rng.choice(["A", "ORIG"]), rng.choice(["L1", "L2"])
        what = rng.random()
        if what < 0.55 or not self.orders:
            side = rng.choice([buy, sell])
            middle = 9_890 if side is buy else 9_910
            return side(account, middle + rng.randint(-25, 25), rng.randint(1, 30) * 100, loan_id=loan_id)
        if what > 0.99:
            return CancelAll(account_id=AccountId(account), loan_id=LoanId(loan_id))
        order_id = rng.choice(list(self.orders))
        owner = self.orders[order_id]
        if what < 0.8:
            del self.orders[order_id]
            return CancelOrder(account_id=owner, order_id=order_id)
        price, quantity = PriceBp(9_900 + rng.randint(-25, 25)), Face(rng.randint(1, 30) * 100)
        return AmendOrder(account_id=owner, order_id=order_id, price=price, quantity=quantity)
