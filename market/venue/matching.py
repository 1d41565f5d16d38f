"""One incoming order against the book: planned and paid for on paper first, then carried out step by step.

The plan is made on the untouched book, and each prospective fill is judged for cash and dust while it is made, so that
whoever asked can still refuse. A fill trades at the maker's price.
"""

from market.commands import OrderPriced
from market.errors import InsufficientFunds
from market.events import Fill, Traded
from market.ids import Face, Minor, OrderId, TradeId
from market.orderbook.book import MatchPlan, StepKind, Stopped, Verdict
from market.orderbook.order import IMMEDIATE, CancelReason, ExecType, Order, OrderStatus, Side
from market.settlement.journal import EntryKind
from market.venue.amounts import FillCost, fill_cost, hold_of
from market.venue.changes import Changes
from market.venue.delivery import deliver, dvp_postings, pay, ytm_ppm
from market.venue.lifecycle import forget, rest, set_hold
from market.venue.protection import Watch
from market.venue.state import Account, Loan, State


class Matching:
    """Made with a plan; `execute` carries it out. Nothing has changed before that."""

    def __init__(self, state: State, loan: Loan, account: Account, order: Order, changes: Changes) -> None:
        self.state = state
        self.loan = loan
        self.account = account
        self.order = order
        self.changes = changes
        self.day = loan.on(state.today)
        self.cancel_reason: CancelReason | None = None  # why the rest of the order did not stay
        self._costs: list[FillCost] = []  # of the planned fills, in order
        self._refused: CancelReason | None = None  # why the last STOP was said
        self._maker_reasons: dict[OrderId, CancelReason] = {}
        self._paid = 0  # by the taker, if he buys
        self._cash = account.available_cash(loan.terms.currency)
        self._holds: dict[OrderId, int] = {}  # of resting buys, after the fills planned so far
        self._leaves: dict[OrderId, int] = {}
        self._available: dict[str, int] = {}  # of their accounts
        self._watch = Watch(state, changes)
        self.plan: MatchPlan = loan.book.plan(
            side=order.side,
            limit=order.price,
            quantity=order.leaves,
            owner=order.owner,
            stp=order.stp,
            check=self._check,
        )

    def require_funds_for_all(self) -> None:
        """A market order has no limit to reserve by: what it would take now must be paid for in full."""
        if self._refused is CancelReason.FUNDS:
            raise InsufficientFunds(
                "available cash does not cover the order",
                field="order_qty",
                have=self._cash,
                currency=self.loan.terms.currency,
            )

    def priced(self) -> OrderPriced:
        """Say what the plan would fill and cost."""
        order, costs = self.order, self._costs
        fills = [step for step in self.plan.steps if step.kind is StepKind.FILL]
        fees = [cost.buyer_fee if order.side is Side.BUY else cost.seller_fee for cost in costs]
        return OrderPriced(
            client_order_id=order.client_order_id,
            price=order.price,
            quantity=order.quantity,
            filled=self.plan.filled,
            turnover=sum(step.maker.price * step.quantity for step in fills),
            principal=Minor(sum(cost.principal for cost in costs)),
            accrued=Minor(sum(cost.accrued for cost in costs)),
            fee=Minor(sum(fees)),
        )

    def execute(self) -> None:
        """Carry out the plan step by step, then rest or end what is left."""
        order, book = self.order, self.loan.book
        costs = iter(self._costs)
        if self.plan.steps:
            self.changes.book(self.loan)
        for step in self.plan.steps:
            book.apply(step, self.changes.numbers)
            if step.kind is StepKind.FILL:
                self._settle(step.maker, step.quantity, next(costs))
            elif step.kind is StepKind.STP_DECREMENT:
                self._decrement(step.maker, step.quantity)
            else:
                reason = self._maker_reasons.get(step.maker.order_id, CancelReason.STP)
                self._drop(step.maker, reason)
        self._finish(order)
        self._watch.withdraw()

    def _finish(self, order: Order) -> None:
        if order.leaves == 0:
            if order.status is not OrderStatus.FILLED:  # used up by self-trade prevention
                self._end_rest(CancelReason.STP)
            return
        if self.plan.stopped is Stopped.STP:
            self._end_rest(CancelReason.STP)
        elif self.plan.stopped is Stopped.CHECK:
            self._end_rest(self._refused or CancelReason.RULE)
        elif order.time_in_force in IMMEDIATE:
            self._end_rest(CancelReason.IOC)
        else:
            self._rest(order)

    def _rest(self, order: Order) -> None:
        hold = hold_of(self.loan, self.day, order.side, order.leaves, order.price)
        if order.side is Side.BUY:  # rounding of the fills so far may have cost a unit more than was foreseen
            hold = min(hold, self.account.cash[self.loan.terms.currency].available)
        rest(self.state, self.loan, self.account, order, hold, self.changes)
        self.changes.refresh(order)

    def _end_rest(self, reason: CancelReason) -> None:
        self.order.status = OrderStatus.CANCELED
        self.cancel_reason = reason
        self.changes.execution(self.order, ExecType.CANCELED, reason=reason)

    def _check(self, maker: Order, quantity: Face) -> Verdict:
        """Judge one planned fill: no cash leg of zero, and whoever buys must be able to pay for it."""
        if maker.quote is not None and self._watch.would_trip(maker):
            self._maker_reasons[maker.order_id] = CancelReason.MMP
            return Verdict.SKIP_MAKER
        if self.order.quote is not None and self._watch.would_trip(self.order):
            self._refused = CancelReason.MMP
            return Verdict.STOP
        cost = fill_cost(self.loan, self.day.accrued, quantity, maker.price)
        if cost.principal < self.loan.rulebook.min_consideration:
            return self._skip_or_stop(maker, quantity, CancelReason.RULE)
        if self.order.side is Side.BUY:
            if self._paid + cost.buyer_pays > self._cash:
                self._refused = CancelReason.FUNDS
                return Verdict.STOP
            self._paid += cost.buyer_pays
        elif not self._maker_can_pay(maker, quantity, cost.buyer_pays):
            self._maker_reasons[maker.order_id] = CancelReason.FUNDS
            return Verdict.SKIP_MAKER
        self._costs.append(cost)
        self._watch.foresee(maker, quantity)
        self._watch.foresee(self.order, quantity)
        return Verdict.TAKE

    def _skip_or_stop(self, maker: Order, quantity: Face, reason: CancelReason) -> Verdict:
        """Dust: if the maker's whole rest is it, the maker goes; else it is the taker's."""
        if quantity == self._leaves.get(maker.order_id, maker.leaves):
            self._maker_reasons[maker.order_id] = reason
            return Verdict.SKIP_MAKER
        self._refused = reason
        return Verdict.STOP

    def _maker_can_pay(self, maker: Order, quantity: Face, pays: int) -> bool:
        """Whether a resting buy's hold, topped up from its account by the odd unit, covers the fill; keeps the sums."""
        available = self._available.get(
            maker.account_id, self.state.accounts[maker.account_id].cash[self.loan.terms.currency].available
        )
        funds = available + self._holds.get(maker.order_id, maker.hold)
        if funds < pays:
            return False
        leaves = self._leaves.get(maker.order_id, maker.leaves) - quantity
        hold = self._hold_after_fill(maker, Face(leaves), funds - pays)
        self._holds[maker.order_id], self._leaves[maker.order_id] = hold, leaves
        self._available[maker.account_id] = funds - pays - hold
        return True

    def _settle(self, maker: Order, quantity: Face, cost: FillCost) -> None:
        """Move claim and cash for one fill, both orders' states with them."""
        taker, state, loan = self.order, self.state, self.loan
        maker_account = state.accounts[maker.account_id]
        taker.leaves = Face(taker.leaves - quantity)
        taker.filled = Face(taker.filled + quantity)
        trade_id = state.last_trade_id = TradeId(state.last_trade_id + 1)
        buyer, seller = (self.account, maker_account) if taker.side is Side.BUY else (maker_account, self.account)
        if maker.side is Side.SELL:
            set_hold(loan, maker_account, maker, maker.leaves, self.changes)
        deliver(loan, buyer, seller, quantity, cost, self.changes)
        pay(state, loan, buyer, seller, cost, self.changes)
        if maker.side is Side.BUY:
            funds = maker_account.cash[loan.terms.currency].available + maker.hold
            set_hold(loan, maker_account, maker, self._hold_after_fill(maker, maker.leaves, funds), self.changes)
        if loan.last_price != maker.price:
            loan.last_price = maker.price
            self.changes.loan(loan)
        ytm = ytm_ppm(state, loan, maker.price)
        for order, is_maker in ((maker, True), (taker, False)):
            order.cum_cost = Minor(order.cum_cost + cost.principal)
            order.turnover += maker.price * quantity
            order.status = OrderStatus.PARTIALLY_FILLED if order.leaves else OrderStatus.FILLED
            if is_maker and not order.leaves:
                forget(state, maker_account, order)
            fee = cost.buyer_fee if order.side is Side.BUY else cost.seller_fee
            fill = Fill(
                trade_id=trade_id,
                quantity=quantity,
                price=maker.price,
                principal=cost.principal,
                accrued=cost.accrued,
                fee=fee,
                ytm_ppm=ytm,
                is_maker=is_maker,
            )
            self.changes.execution(order, ExecType.TRADE, fill=fill)
            self._watch.count(order, quantity)
        self.changes.facts.append(self._traded(trade_id, maker, quantity, cost, ytm))
        self.changes.post(EntryKind.TRADE, str(trade_id), *dvp_postings(loan, buyer, seller, quantity, cost))

    def _traded(self, trade_id: TradeId, maker: Order, quantity: Face, cost: FillCost, ytm: int | None) -> Traded:
        taker, loan = self.order, self.loan
        buy, sell = (taker, maker) if taker.side is Side.BUY else (maker, taker)
        return Traded(
            trade_id=trade_id,
            loan_id=loan.terms.loan_id,
            currency=loan.terms.currency,
            price=maker.price,
            quantity=quantity,
            taker_side=taker.side,
            taker_order_type=taker.order_type,
            buy_order_id=buy.order_id,
            sell_order_id=sell.order_id,
            buyer=buy.account_id,
            seller=sell.account_id,
            current_face=cost.current_face,
            principal=cost.principal,
            accrued=cost.accrued,
            buyer_fee=cost.buyer_fee,
            seller_fee=cost.seller_fee,
            ytm_ppm=ytm,
            business_date=self.state.today,
        )

    def _decrement(self, maker: Order, quantity: Face) -> None:
        """Self-trade prevention took `quantity` off both orders without a trade."""
        self.order.quantity = Face(self.order.quantity - quantity)
        self.order.leaves = Face(self.order.leaves - quantity)
        if maker.leaves == 0:
            self._drop(maker, CancelReason.STP)
            return
        account = self.state.accounts[maker.account_id]
        hold = min(maker.hold, hold_of(self.loan, self.day, maker.side, maker.leaves, maker.price))
        set_hold(self.loan, account, maker, hold, self.changes)
        maker.version += 1
        self.changes.execution(maker, ExecType.RESTATED)

    def _drop(self, maker: Order, reason: CancelReason) -> None:
        """End a maker that the book has already let go."""
        account = self.state.accounts[maker.account_id]
        set_hold(self.loan, account, maker, 0, self.changes)
        forget(self.state, account, maker)
        maker.status = OrderStatus.CANCELED
        self.changes.execution(maker, ExecType.CANCELED, reason=reason)

    def _hold_after_fill(self, maker: Order, leaves: Face, funds: int) -> int:
        """Return a resting buy's hold for what it still wants, at most the funds left for it."""
        return min(hold_of(self.loan, self.day, Side.BUY, leaves, maker.price), funds) if leaves else 0
