"""Random worlds of several ledgers: cash that moves between them against a model of one purse per account.

Moves are sent, delivered late, in any order and again and again, while accounts trade in every ledger, pay in and out.
"""

import random
from collections import Counter, defaultdict
from dataclasses import replace

import pytest

from market.commands import Command, Done, ReceiveCash, SendCash, Withdraw
from market.errors import DuplicateId, MarketError
from market.events import Posted
from market.ids import AccountId, Currency, Minor, Seq
from market.settlement.journal import CUSTODY, TRANSIT, Unit
from tests.builders import Market, buy, deposit, open_account, receive_cash, sell, send_cash

PARTITIONS, ACCOUNTS, STEPS = 3, ["A", "B", "C"], 1_500
USD = Currency("USD")


class Purses:
    """What each account has in all, from what the ledgers posted other than moves; and every move by its id."""

    def __init__(self) -> None:
        self.cash: Counter[str] = Counter()
        self.on_the_way: dict[str, SendCash] = {}
        self.sender_of: dict[str, int] = {}
        self.arrived: dict[str, SendCash] = {}
        self.sent_seq: dict[str, Seq] = {}


class Ledgers:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.markets = [Market(loans=(f"L{n}",), partition=n) for n in range(PARTITIONS)]
        self.purses = Purses()
        self.refused: Counter[str] = Counter()
        self.ids = 0
        for n, market in enumerate(self.markets):
            for account in ACCOUNTS:
                market.do(open_account(account))
            self.do(n, sell("ORIG", 10_000, 5_000_00, loan_id=f"L{n}"))
        for account in ACCOUNTS:
            self.do(0, deposit(account, 3_000_00))

    def do(self, n: int, command: Command) -> bool:
        """Carry out a command at partition n; False if it is refused."""
        try:
            applied = self.markets[n].do(command)
        except MarketError as refusal:
            self.refused[type(refusal).__name__] += 1
            return False
        for event in applied.events:
            if isinstance(event, Posted):
                for leg in event.entry.postings:
                    if leg.unit is Unit.CASH and TRANSIT not in {p.account_id for p in event.entry.postings}:
                        self.purses.cash[leg.account_id] += leg.amount
        return True

    def step(self) -> None:
        kinds = [self._send, self._deliver, self._repeat, self._order, self._pay]
        self.rng.choices(kinds, weights=[4, 4, 2, 6, 1])[0]()

    def _send(self) -> None:
        rng, purses = self.rng, self.purses
        sender, to = rng.sample(range(PARTITIONS), 2)
        account = rng.choice(ACCOUNTS)
        self.ids += 1
        command = send_cash(account, rng.choice([1, rng.randint(1, 900_00)]), to, f"m-{self.ids}")
        line = self.markets[sender].venue.state.accounts[AccountId(account)].cash[USD]
        could = line.available >= command.amount
        assert self.do(sender, command) is could
        if could:
            purses.on_the_way[command.move_id], purses.sender_of[command.move_id] = command, sender
            purses.sent_seq[command.move_id] = self.markets[sender].venue.seq

    def _deliver(self) -> None:
        if self.purses.on_the_way:
            move_id = self.rng.choice(sorted(self.purses.on_the_way))
            sent = self.purses.on_the_way.pop(move_id)
            assert self.do(sent.to, self._receipt(sent))
            self.purses.arrived[move_id] = sent

    def _repeat(self) -> None:
        """Say again what was said before, in part with another amount: nothing moves, forgotten or not."""
        rng, purses = self.rng, self.purses
        if not purses.arrived:
            return
        sent = purses.arrived[rng.choice(sorted(purses.arrived))]
        n, command = rng.choice([(purses.sender_of[sent.move_id], sent), (sent.to, self._receipt(sent))])
        before = self.markets[n].venue.seq
        assert self.do(n, command)
        after, other = self.markets[n].venue.seq, replace(command, amount=Minor(command.amount + 1))
        state = self.markets[n].venue.state
        if isinstance(command, ReceiveCash) and (command.sender, command.move_id) not in state.received:
            assert command.sent_seq < state.received_before[command.sender]
            assert self.markets[n].do(other).result == Done(duplicate=True)
        else:
            with pytest.raises(DuplicateId):
                self.markets[n].do(other)
        assert after == before

    def _order(self) -> None:
        n, make = self.rng.randrange(PARTITIONS), self.rng.choice([buy, buy, sell])
        price = self.rng.randint(9_990, 10_010)
        self.do(n, make(self.rng.choice(ACCOUNTS), price, self.rng.randint(1_00, 400_00), loan_id=f"L{n}"))

    def _pay(self) -> None:
        account, amount = self.rng.choice(ACCOUNTS), Minor(self.rng.randint(1, 500_00))
        self.ids += 1
        out = Withdraw(account_id=AccountId(account), currency=USD, amount=amount, custody_ref=f"w-{self.ids}")
        self.do(0, self.rng.choice([deposit(account, amount, ref=f"d-{self.ids}"), out]))

    def _receipt(self, sent: SendCash) -> ReceiveCash:
        """Return the receipt of a move, that in part says what its receiver need not remember any longer."""
        sender, sent_seq = self.purses.sender_of[sent.move_id], self.purses.sent_seq[sent.move_id]
        all_before = self.rng.choice([0, min(sent_seq, self._all_before(sender, sent.to))])
        return receive_cash(
            sent.account_id, sent.amount, sender, sent.move_id, sent_seq=sent_seq, all_before=all_before
        )

    def _all_before(self, sender: int, to: int) -> int:
        """Return the number of the first move from one ledger to another that is still on the way."""
        purses = self.purses
        due = [m for m, sent in purses.on_the_way.items() if (purses.sender_of[m], sent.to) == (sender, to)]
        return min((purses.sent_seq[m] for m in due), default=self.markets[sender].venue.seq + 1)

    def check(self) -> None:
        on_the_way: Counter[str] = Counter()
        for sent in self.purses.on_the_way.values():
            on_the_way[sent.account_id] += sent.amount
        lines: defaultdict[str, int] = defaultdict(int)
        unmoved: defaultdict[str, int] = defaultdict(int)
        for market in self.markets:
            market.venue.state.check_invariants()
            for account in market.venue.state.accounts.values():
                lines[account.account_id] += account.cash[USD].total
                unmoved[account.account_id] += account.cash[USD].total - account.cash[USD].moved
        for account_id in (*ACCOUNTS, "ORIG", "HOUSE"):
            has = self.purses.cash[account_id]
            assert lines[account_id] + on_the_way[account_id] == unmoved[account_id] == has >= 0
        assert sum(self.purses.cash[account_id] for account_id in lines) == -self.purses.cash[CUSTODY]


@pytest.mark.parametrize("seed", range(6))
def test_lines_and_what_is_on_the_way_are_the_balance_at_every_moment(seed: int) -> None:
    world = Ledgers(seed)
    for step in range(STEPS):
        world.step()
        if step % 25 == 0:
            world.check()
    world.check()
    assert len(world.purses.arrived) > 100
    kept = sum(len(market.venue.state.received) for market in world.markets)
    assert kept < len(world.purses.arrived), "some were forgotten"
    assert world.refused["InsufficientFunds"] > 20
    traded = [market.venue.state.last_trade_id % (1 << 36) for market in world.markets]
    assert min(traded) > 5, traded
