"""A book so plain that it is right by inspection: one list of orders, sorted anew for each single fill.

Written from the rules (price, then priority; maker's price; icebergs; self-trade prevention), not from the book judged.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field

from market.orderbook.book import Verdict
from market.orderbook.order import SelfTradePrevention, Side, TimeInForce

Judge = Callable[[int, int], Verdict]  # (maker's order id, quantity) of one prospective fill


@dataclass(frozen=True, kw_only=True)
class Request:
    """An order as it is asked for. stop_after, skip_every: a check that stops past a sum and skips some makers."""

    order_id: int
    owner: str
    side: Side
    price: int
    quantity: int
    time_in_force: TimeInForce = TimeInForce.GTC
    is_market: bool = False
    post_only: bool = False
    min_quantity: int | None = None
    display_quantity: int | None = None
    stp: SelfTradePrevention = SelfTradePrevention.CANCEL_NEWEST
    stop_after: int | None = None
    skip_every: int | None = None

    def new_judge(self) -> Judge:
        """Return a check that sums up over one order what it lets through."""
        taken = 0

        def judge(maker_id: int, quantity: int) -> Verdict:
            nonlocal taken
            if self.skip_every is not None and maker_id % self.skip_every == 0:
                return Verdict.SKIP_MAKER
            if self.stop_after is not None and taken + quantity > self.stop_after:
                return Verdict.STOP
            taken += quantity
            return Verdict.TAKE

        return judge


@dataclass
class Entry:
    """An order as it stands."""

    order_id: int
    owner: str
    side: Side
    price: int
    quantity: int
    leaves: int
    display_quantity: int | None
    post_only: bool
    stp: SelfTradePrevention
    priority: int
    filled: int = 0
    shown: int = 0

    def show(self) -> None:
        self.shown = self.leaves if self.display_quantity is None else min(self.display_quantity, self.leaves)


@dataclass
class Outcome:
    """What one order did. events: (what, maker's order id, quantity, maker's price) in order."""

    refused: bool = False
    events: list[tuple[str, int, int, int]] = field(default_factory=list)
    filled: int = 0
    decremented: int = 0
    remaining: int = 0
    stopped: str | None = None
    rests: bool = False


class ReferenceBook:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.last_priority = 0

    def submit(self, request: Request) -> Outcome:
        taker = Entry(
            request.order_id,
            request.owner,
            request.side,
            request.price,
            request.quantity,
            request.quantity,
            request.display_quantity,
            request.post_only,
            request.stp,
            self._next_priority(),
        )
        return self._enter(taker, request)

    def amend(self, order_id: int, price: int, quantity: int) -> Outcome:
        """Only a smaller quantity at the same price keeps the place; all else enters anew (or, refused, stays)."""
        entry = self.find(order_id)
        if price == entry.price and quantity < entry.quantity:
            entry.leaves -= entry.quantity - quantity
            entry.quantity = quantity
            entry.shown = min(entry.shown, entry.leaves)
            return Outcome(rests=True, remaining=entry.leaves)
        changed = copy(entry)
        changed.price, changed.quantity, changed.leaves = price, quantity, quantity - entry.filled
        changed.priority = self._next_priority()
        if changed.post_only and self._makers_for(changed):
            return Outcome(refused=True, remaining=changed.leaves)
        self.entries.remove(entry)
        return self._enter(changed, None)

    def cancel(self, order_id: int) -> None:
        self.entries.remove(self.find(order_id))

    def find(self, order_id: int) -> Entry:
        return next(entry for entry in self.entries if entry.order_id == order_id)

    def resting(self, side: Side) -> list[Entry]:
        """Return the orders of a side, best price first, then by priority."""
        sign = -1 if side is Side.BUY else 1
        entries = [entry for entry in self.entries if entry.side is side]
        return sorted(entries, key=lambda entry: (sign * entry.price, entry.priority))

    def _next_priority(self) -> int:
        self.last_priority += 1
        return self.last_priority

    def _makers_for(self, taker: Entry) -> list[Entry]:
        makers = self.resting(taker.side.opposite)
        if taker.side is Side.BUY:
            return [maker for maker in makers if maker.price <= taker.price]
        return [maker for maker in makers if maker.price >= taker.price]

    def _enter(self, taker: Entry, request: Request | None) -> Outcome:
        """Match and let rest. request: None for an order that is amended, a plain limit order by then."""
        outcome = Outcome()
        refused = Outcome(refused=True, remaining=taker.leaves)
        if taker.post_only and self._makers_for(taker):
            return refused
        least = 0
        if request is not None:
            fill_or_kill = request.time_in_force is TimeInForce.FOK
            least = taker.leaves if fill_or_kill else request.min_quantity or 0
        before = [copy(entry) for entry in self.entries], self.last_priority
        self._match(taker, outcome, request.new_judge() if request is not None else lambda *_: Verdict.TAKE)
        if outcome.filled < least:
            self.entries, self.last_priority = before
            return refused
        outcome.remaining = taker.leaves
        immediate = request is not None and (
            request.is_market or request.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
        )
        if taker.leaves > 0 and not immediate and outcome.stopped is None:
            taker.show()
            self.entries.append(taker)
            outcome.rests = True
        return outcome

    def _match(self, taker: Entry, outcome: Outcome, judge: Judge) -> None:
        while taker.leaves > 0 and outcome.stopped is None:
            makers = self._makers_for(taker)
            if not makers:
                return
            maker = makers[0]
            if maker.owner == taker.owner:
                self._meet_own(taker, maker, outcome)
                continue
            quantity = min(maker.shown, taker.leaves)
            verdict = judge(maker.order_id, quantity)
            if verdict is Verdict.STOP:
                outcome.stopped = "check"
            elif verdict is Verdict.SKIP_MAKER:
                outcome.events.append(("cancel_maker", maker.order_id, maker.leaves, maker.price))
                self.entries.remove(maker)
            else:
                outcome.events.append(("fill", maker.order_id, quantity, maker.price))
                outcome.filled += quantity
                self._trade(taker, maker, quantity)

    def _trade(self, taker: Entry, maker: Entry, quantity: int) -> None:
        for entry in (taker, maker):
            entry.leaves -= quantity
            entry.filled += quantity
        maker.shown -= quantity
        if maker.leaves == 0:
            self.entries.remove(maker)
        elif maker.shown == 0:
            maker.show()
            maker.priority = self._next_priority()

    def _meet_own(self, taker: Entry, maker: Entry, outcome: Outcome) -> None:
        if taker.stp is SelfTradePrevention.DECREMENT:
            quantity = min(taker.leaves, maker.leaves)
            outcome.events.append(("stp_decrement", maker.order_id, quantity, maker.price))
            outcome.decremented += quantity
            for entry in (taker, maker):
                entry.leaves -= quantity
                entry.quantity -= quantity
            maker.shown = min(maker.shown, maker.leaves)
            if maker.leaves == 0:
                self.entries.remove(maker)
            if taker.leaves == 0:
                outcome.stopped = "stp"
        if taker.stp in (SelfTradePrevention.CANCEL_OLDEST, SelfTradePrevention.CANCEL_BOTH):
            outcome.events.append(("stp_cancel_maker", maker.order_id, maker.leaves, maker.price))
            self.entries.remove(maker)
        if taker.stp in (SelfTradePrevention.CANCEL_NEWEST, SelfTradePrevention.CANCEL_BOTH):
            outcome.stopped = "stp"
