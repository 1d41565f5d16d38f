"""A reader who applies our deltas and cuts to his depth holds the best levels of the book, whatever happens in it."""

import random
from itertools import count

import pytest

from market.ids import AccountId, Face, LoanId, OrderId, PriceBp
from market.orderbook.book import OrderBook
from market.orderbook.depth import Depth, LevelBook
from market.orderbook.order import Order, Side, TimeInForce
from tests.property.depth_client import DepthClient

LOAN = LoanId("L1")
DEPTHS = (*range(1, 11), 25)
BATCHES = 700


class RandomFlow:
    """Orders come, trade and go; the book swings between empty and some forty levels a side."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.book = OrderBook(LOAN)
        self.numbers = count(1)
        self.resting: list[Order] = []
        self.wanted = 0

    def step(self) -> None:
        rng = self.rng
        if rng.random() < 0.01:
            self.wanted = rng.choice((0, 5, 30, 150))
        self.resting = [order for order in self.resting if order.level is not None]
        if self.resting and rng.random() < (0.8 if len(self.resting) > self.wanted else 0.3):
            self.book.remove(rng.choice(self.resting))
            return
        side = rng.choice((Side.BUY, Side.SELL))
        away = rng.randint(-4, 40)
        order = Order(
            order_id=OrderId(next(self.numbers)),
            account_id=AccountId(f"A{rng.randint(1, 1000)}"),
            loan_id=LOAN,
            side=side,
            price=PriceBp(10_000 - away if side is Side.BUY else 10_000 + away),
            quantity=Face(rng.randint(1, 30)),
            priority=next(self.numbers),
            display_quantity=Face(rng.randint(1, 5)) if rng.random() < 0.3 else None,
            time_in_force=rng.choice((TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC)),
        )
        self.book.submit(order, self.numbers)
        if order.level is not None:
            self.resting.append(order)


@pytest.mark.parametrize("seed", range(6))
def test_client_that_applies_deltas_and_cuts_holds_the_true_best_levels(seed: int) -> None:
    flow, levels = RandomFlow(seed), LevelBook()
    clients = {depth: DepthClient(depth, levels.view(depth).snapshot()) for depth in DEPTHS}
    deltas_seen = 0
    for _ in range(BATCHES):
        for _ in range(flow.rng.randint(1, 4)):
            flow.step()
        levels.apply(flow.book.take_changes())
        deltas = levels.flush()
        assert len({delta.depth for delta in deltas}) == len(deltas)
        for delta in deltas:
            clients[delta.depth].apply(delta)
        deltas_seen += len(deltas)
        for depth, client in clients.items():
            bids, asks = flow.book.levels(Side.BUY, depth), flow.book.levels(Side.SELL, depth)
            assert client.state() == Depth(client.seq, bids, asks, client.checksum, client.digest)
            assert levels.view(depth).snapshot() == client.state(), "a late reader starts where this one is"
    assert deltas_seen > BATCHES


def test_view_asked_for_late_starts_at_the_present_state() -> None:
    flow, levels = RandomFlow(seed=1), LevelBook()
    flow.wanted = 50
    for _ in range(100):
        flow.step()
        levels.apply(flow.book.take_changes())
        assert levels.flush() == []
    snapshot = levels.view(10).snapshot()
    assert (snapshot.seq, snapshot.bids) == (levels.seq, flow.book.levels(Side.BUY, 10))
