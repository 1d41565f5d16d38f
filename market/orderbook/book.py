"""Price-time priority order book for the claims of one loan.

Layout: two ladders of price levels, bids and asks; a level is a FIFO queue of resting orders. On one
core of a Xeon an order or cancel takes 2.5 us; with SortedList for prices 1.2 times and with SortedDict 1.4 times that,
and a dict as the queue is 1.0 to 2.3 times as slow as linked orders (benchmarks/orderbook_structures.py).
Matching has two halves: `plan` says, without changing anything, what an incoming order would do; `execute` does it to
the makers. Between them the caller may refuse (fill-or-kill, minimum quantity, cash) with nothing to take back.
Invariants: never crossed or locked (best bid < best ask); no empty level; a level's total is the sum of what its orders
show; 0 < shown <= leaves and quantity == filled + leaves for each order that rests; priorities ascend along a queue.
Left out: status, cost and holds of orders (venue/), what readers see of the levels (depth.py).
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from market.errors import FokUnfilled, InvariantViolation, MinQuantityUnfilled, PostOnlyCross
from market.events import LevelChange
from market.ids import Face, LoanId, PriceBp
from market.orderbook.level import BookSide, Level, showable
from market.orderbook.order import IMMEDIATE, Order, OrderType, SelfTradePrevention, Side, TimeInForce


class Verdict(Enum):
    """What the caller says of one prospective fill."""

    TAKE = "take"
    SKIP_MAKER = "skip_maker"  # the whole maker leaves the book, matching goes on
    STOP = "stop"  # matching ends before this fill


class StepKind(Enum):
    FILL = "fill"
    STP_CANCEL_MAKER = "stp_cancel_maker"
    STP_DECREMENT = "stp_decrement"  # maker and taker shrink by the same quantity, no trade
    CANCEL_MAKER = "cancel_maker"


class Stopped(Enum):
    """Why matching ended before the price or the quantity did."""

    STP = "stp"  # self-trade prevention ends the taker: what remains of it (0 if decremented away) must not rest
    CHECK = "check"  # the caller's check said STOP


class Step(NamedTuple):
    """One thing that happens to a resting order. quantity: filled, decremented, or the leaves that are cancelled."""

    kind: StepKind
    maker: Order
    quantity: Face


@dataclass(slots=True)
class MatchPlan:
    """What an incoming order would do: ordered = filled + decremented + remaining. A FILL is at its maker's price."""

    remaining: Face
    filled: Face = Face(0)
    decremented: Face = Face(0)  # taken off the taker by self-trade prevention, without a trade
    steps: list[Step] = field(default_factory=list)
    stopped: Stopped | None = None


Check = Callable[[Order, Face], Verdict]


class OrderBook:
    """All resting orders of one loan."""

    __slots__ = ("_asks", "_bids", "loan_id")

    def __init__(self, loan_id: LoanId) -> None:
        self.loan_id = loan_id
        self._bids = BookSide(Side.BUY)
        self._asks = BookSide(Side.SELL)

    # Matching

    def plan(
        self,
        *,
        side: Side,
        limit: PriceBp,
        quantity: Face,
        owner: str,
        stp: SelfTradePrevention,
        check: Check | None = None,
    ) -> MatchPlan:
        """Return what an incoming order would do to this book, best price first, then priority. Changes nothing.

        limit: the worst price it trades at.  quantity: > 0.  owner: orders of the same owner never trade.
        check: asked once for each prospective fill, in order; what it adds up over the calls is its own.
        Cost: O(steps); an iceberg takes a step for each time that it shows anew.
        """
        makers = self._side(side.opposite)
        plan = MatchPlan(remaining=quantity)
        worst = makers.sign * limit
        for key in reversed(makers.keys):
            if key < worst or plan.remaining == 0 or plan.stopped is not None:
                break
            _meet_level(plan, makers.rungs[key], owner, stp, check)
        return plan

    def execute(self, plan: MatchPlan, priorities: Iterator[int]) -> None:
        """Apply `plan`, made on the book as it is now, to its makers. The taker is the caller's."""
        for step in plan.steps:
            self.apply(step, priorities)

    def apply(self, step: Step, priorities: Iterator[int]) -> None:
        """Apply one step, after those before it in its plan.

        priorities: numbers greater than any in the book, for icebergs that queue again.
        A cancelled maker leaves the book with its leaves as they were. Raises InvariantViolation for a stale plan.
        """
        makers = self._side(step.maker.side)
        if step.kind is StepKind.FILL:
            makers.fill(step.maker, step.quantity, priorities)
        elif step.kind is StepKind.STP_DECREMENT:
            makers.shrink(step.maker, step.quantity)
        else:
            makers.leave(step.maker)

    def submit(self, order: Order, priorities: Iterator[int], check: Check | None = None) -> MatchPlan:
        """Match `order` and let the rest of it rest, as its words say; for callers without a venue around the book.

        order.priority is set already. The rest of a market, IOC, FOK or stopped order stays out.
        Raises PostOnlyCross, FokUnfilled or MinQuantityUnfilled, without a trace in book or order.
        """
        if order.post_only and self.would_cross(order.side, order.price):
            raise PostOnlyCross
        plan = self.plan(
            side=order.side, limit=order.price, quantity=order.leaves, owner=order.owner, stp=order.stp, check=check
        )
        if order.time_in_force is TimeInForce.FOK and plan.filled < order.leaves:
            raise FokUnfilled
        if order.min_quantity is not None and plan.filled < order.min_quantity:
            raise MinQuantityUnfilled
        self.execute(plan, priorities)
        order.filled = Face(order.filled + plan.filled)
        order.quantity = Face(order.quantity - plan.decremented)
        order.leaves = plan.remaining
        may_rest = order.order_type is not OrderType.MARKET and order.time_in_force not in IMMEDIATE
        if may_rest and plan.stopped is None and plan.remaining > 0:
            self.add(order)
        return plan

    # Resting orders

    def add(self, order: Order) -> None:
        """Queue `order`, its priority set, at the back of its level; an iceberg shows its display quantity.

        Raises InvariantViolation if it rests already, has nothing left, or would cross.
        """
        order.shown = showable(order, order.leaves)
        self.restore(order)

    def restore(self, order: Order) -> None:
        """Queue `order` like `add` does, but with `shown` as it is: recovery gives the orders by ascending priority."""
        if order.level is not None or not 0 < order.shown <= order.leaves:
            raise InvariantViolation(f"order {order.order_id} can't join: it rests already or has nothing to show")
        if self.would_cross(order.side, order.price):
            raise InvariantViolation(f"order {order.order_id} would cross the book of {self.loan_id}")
        self._side(order.side).join(order)

    def remove(self, order: Order) -> None:
        """Take `order` out (cancel, expiry, loss of priority), its quantities as they are. O(1) wherever it stands."""
        self._side(order.side).leave(order)

    def reduce(self, order: Order, quantity: Face) -> None:
        """Set a smaller total quantity, filled part included; priority stays.

        Raises ValueError unless filled < quantity < the old one: anything else is another operation.
        """
        if not order.filled < quantity < order.quantity:
            raise ValueError(f"quantity must be in {order.filled + 1}..{order.quantity - 1}, was {quantity}")
        self._side(order.side).shrink(order, Face(order.quantity - quantity))

    # What can be seen

    def would_cross(self, side: Side, price: PriceBp) -> bool:
        """True if an order at `price` would meet a resting one of the other side: a locked book counts as crossed."""
        makers = self._side(side.opposite)
        return bool(makers.keys) and makers.keys[-1] >= makers.sign * price

    def best(self, side: Side) -> PriceBp | None:
        return self._side(side).best()

    def levels(self, side: Side, depth: int | None = None) -> list[tuple[PriceBp, Face]]:
        """Return (price, visible total), best first, at most `depth` levels (None: all)."""
        return [(price, level.shown) for price, level in self._side(side).best_first(depth)]

    def orders(self, side: Side) -> Iterator[Order]:
        """Yield what rests on `side`, best price first, then by priority. List it before changing the book."""
        for _, level in self._side(side).best_first():
            yield from level

    def take_changes(self) -> list[LevelChange]:
        """Return the levels touched since the last call, each once, with the visible total they have now (0: gone)."""
        changes = []
        for ladder in (self._bids, self._asks):
            for key in ladder.touched:
                level = ladder.rungs.get(key)
                shown = Face(0) if level is None else level.shown
                changes.append(LevelChange(ladder.side, PriceBp(ladder.sign * key), shown))
            ladder.touched.clear()
        return changes

    def check_invariants(self) -> None:
        """Walk the whole book; raise InvariantViolation where it contradicts itself. O(orders), for audits."""
        for ladder in (self._bids, self._asks):
            _require(ladder.keys == sorted(ladder.rungs), f"{ladder.side}: index and levels differ")
            for key, level in ladder.rungs.items():
                _require(key == ladder.sign * level.price, f"{ladder.side} {level.price}: filed under key {key}")
                _check_level(ladder.side, level)
        bid, ask = self._bids.best(), self._asks.best()
        _require(bid is None or ask is None or bid < ask, f"crossed or locked: bid {bid}, ask {ask}")

    def _side(self, side: Side) -> BookSide:
        return self._bids if side is Side.BUY else self._asks


def _meet_level(plan: MatchPlan, level: Level, owner: str, stp: SelfTradePrevention, check: Check | None) -> None:
    """Let the taker meet the level's orders in turn, until it is used up, stopped, or through with them.

    An iceberg that was filled with more to show stands again behind all others: `again` is the queue of those.
    """
    waiting = level.head
    again: deque[tuple[Order, Face, Face]] = deque()
    while plan.remaining > 0 and plan.stopped is None:
        if waiting is not None:
            maker, shown, leaves = waiting, waiting.shown, waiting.leaves
            waiting = waiting.next
        elif again:
            maker, shown, leaves = again.popleft()
        else:
            return
        if maker.owner == owner:
            _prevent_self_trade(plan, maker, leaves, stp)
        elif _take(plan, maker, min(shown, plan.remaining), leaves, check) and shown < leaves:
            left = Face(leaves - shown)
            again.append((maker, showable(maker, left), left))


def _take(plan: MatchPlan, maker: Order, quantity: Face, leaves: Face, check: Check | None) -> bool:
    """Plan a fill if the check lets it; True if it does."""
    verdict = Verdict.TAKE if check is None else check(maker, quantity)
    if verdict is Verdict.TAKE:
        plan.steps.append(Step(StepKind.FILL, maker, quantity))
        plan.filled = Face(plan.filled + quantity)
        plan.remaining = Face(plan.remaining - quantity)
        return True
    if verdict is Verdict.SKIP_MAKER:
        plan.steps.append(Step(StepKind.CANCEL_MAKER, maker, leaves))
    else:
        plan.stopped = Stopped.CHECK
    return False


def _prevent_self_trade(plan: MatchPlan, maker: Order, leaves: Face, stp: SelfTradePrevention) -> None:
    """Plan what happens where an order meets one of its own owner. leaves: the maker's at that moment."""
    if stp is SelfTradePrevention.DECREMENT:
        quantity = min(leaves, plan.remaining)
        plan.steps.append(Step(StepKind.STP_DECREMENT, maker, quantity))
        plan.decremented = Face(plan.decremented + quantity)
        plan.remaining = Face(plan.remaining - quantity)
        if plan.remaining == 0:
            plan.stopped = Stopped.STP
        return
    if stp is not SelfTradePrevention.CANCEL_NEWEST:
        plan.steps.append(Step(StepKind.STP_CANCEL_MAKER, maker, leaves))
    if stp is not SelfTradePrevention.CANCEL_OLDEST:
        plan.stopped = Stopped.STP


def _check_level(side: Side, level: Level) -> None:
    where = f"{side} {level.price}"
    orders = list(level)
    _require(bool(orders) and level.tail is orders[-1], f"{where}: empty, or its tail is not its last order")
    _require(level.shown == sum(order.shown for order in orders), f"{where}: total {level.shown} is not the sum")
    before: Order | None = None
    for order in orders:
        _require(order.level is level and order.prev is before, f"{where}: order {order.order_id} is linked wrongly")
        _require(order.side is side and order.price == level.price, f"{where}: order {order.order_id} is elsewhere")
        _require(0 < order.shown <= order.leaves, f"order {order.order_id} shows {order.shown} of {order.leaves}")
        _require(order.quantity == order.filled + order.leaves, f"order {order.order_id}: quantity does not add up")
        _require(before is None or before.priority < order.priority, f"{where}: priority of order {order.order_id}")
        before = order


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvariantViolation(otherwise)
