"""Orders: place, amend, cancel, expire, and what a fill moves. Every check comes before the first change.

Matching is planned on the untouched book (`OrderBook.plan`), judged, and only then carried out, so a refused order
leaves no trace by construction. A fill trades at the maker's price, claim against cash in one journal entry.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter

from market.claims.yields import remaining_flows, yield_at_price
from market.commands import AmendOrder, CancelAll, CancelOrder, CountAck, OrderAck, PlaceOrder
from market.errors import (
    DuplicateId,
    FokUnfilled,
    InsufficientClaims,
    InsufficientFunds,
    InvalidArguments,
    InvalidQuantity,
    InvariantViolation,
    MinQuantityUnfilled,
    PostOnlyCross,
    UnknownOrder,
    VersionMismatch,
)
from market.events import ExecType, Fill, OrderAccepted, Traded
from market.ids import Face, Minor, OrderId, PriceBp, TradeId
from market.orderbook.book import MatchPlan, StepKind, Stopped, Verdict
from market.orderbook.order import (
    IMMEDIATE,
    CancelReason,
    Order,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)
from market.settlement.journal import HOUSE, EntryKind, Leg, Posting, Unit
from market.venue import admission
from market.venue.amounts import FillCost, fill_cost, hold_of
from market.venue.changes import Changes
from market.venue.state import Account, Loan, State

# The id itself and the session it came from are not content; the tag, free text, is added apart.
ORDER_CONTENT = attrgetter(
    *sorted({field.name for field in fields(PlaceOrder)} - {"client_order_id", "session", "tag"})
)


def place(state: State, command: PlaceOrder, changes: Changes) -> OrderAck:
    account = state.account(command.account_id)
    if command.client_order_id is not None and (first := account.first_answers.get(command.client_order_id)):
        return _first_answer(first, order_digest(command))
    loan = state.loan(command.loan_id)
    admission.check_account(account)
    admission.check_loan(loan)
    admission.check_mode(state.mode, post_only=command.post_only)
    price = _limit(state, loan, command)
    admission.check_quantity(loan, command.quantity, price)
    admission.check_parts(
        loan, command.quantity, min_quantity=command.min_quantity, display_quantity=command.display_quantity
    )
    admission.check_rulebook(loan, state, price)
    admission.check_open_orders(loan, account)
    admission.check_eligibility(account, command.side)
    order = _new_order(account, command, price, changes)
    if order.order_type is OrderType.LIMIT or order.side is Side.SELL:
        _check_cover(state, loan, account, order, quantity=order.quantity)
    matching = Matching(state, loan, account, order, changes)
    if order.order_type is OrderType.MARKET:
        matching.require_funds_for_all()
    _check_plan(loan, order, matching.plan)

    changes.execution(order, ExecType.NEW)
    matching.execute()
    if order.client_order_id is not None:
        _remember_first_answer(account, order, order_digest(command), matching.cancel_reason, changes)
    return _ack(order, changes, matching.cancel_reason)


def amend(state: State, command: AmendOrder, changes: Changes) -> OrderAck:
    """Quantity down keeps priority; a new price or more quantity joins the back, and may match like a new order."""
    account = state.account(command.account_id)
    admission.check_account(account)
    order = _find(account, command.order_id, command.client_order_id)
    if command.if_version is not None and command.if_version != order.version:
        raise VersionMismatch(f"the order has version {order.version}", field="if_version", version=order.version)
    loan = state.loan(order.loan_id)
    admission.check_loan(loan)
    admission.check_mode(state.mode, post_only=order.post_only)
    price = order.price if command.price is None else command.price
    quantity = order.quantity if command.quantity is None else command.quantity
    if price != order.price:
        admission.check_price(loan, price)
    admission.check_quantity(loan, quantity, price)
    if quantity <= order.filled:
        raise InvalidQuantity("the total is not above what is filled: cancel instead", field="order_qty")
    if price != order.price:
        admission.check_rulebook(loan, state, price)
    if price == order.price and quantity <= order.quantity:
        return _reduce(state, loan, account, order, quantity, changes)
    return _replace(state, loan, account, order, quantity, price, changes)


def cancel(state: State, command: CancelOrder, changes: Changes) -> OrderAck:
    account = state.account(command.account_id)
    order = _find(account, command.order_id, command.client_order_id)
    end(state, order, OrderStatus.CANCELED, CancelReason.USER, changes)
    return _ack(order, changes, CancelReason.USER)


def cancel_all(state: State, command: CancelAll, changes: Changes) -> CountAck:
    account = state.account(command.account_id)
    chosen = [
        order
        for order in account.orders.values()
        if (command.loan_id is None or order.loan_id == command.loan_id)
        and (command.side is None or order.side is command.side)
        and (command.session is None or order.session == command.session)
        and (command.tag is None or order.tag == command.tag)
    ]
    end_all(state, chosen, OrderStatus.CANCELED, command.cause, changes)
    return CountAck(count=len(chosen))


def by_age(order: Order) -> OrderId:
    return order.order_id


def end_all(state: State, orders: Iterable[Order], status: OrderStatus, reason: CancelReason, changes: Changes) -> None:
    """Oldest first: an order that lost its priority stands elsewhere in memory than in a rebuilt venue."""
    for order in sorted(orders, key=by_age):
        end(state, order, status, reason, changes)


def end(state: State, order: Order, status: OrderStatus, reason: CancelReason, changes: Changes) -> None:
    """Take an open order out of the book for good and release its hold in full."""
    loan, account = state.loans[order.loan_id], state.accounts[order.account_id]
    loan.book.remove(order)
    changes.book(loan)
    _set_hold(loan, account, order, 0, changes)
    _forget(state, account, order)
    order.status = status
    changes.execution(order, ExecType.EXPIRED if status is OrderStatus.EXPIRED else ExecType.CANCELED, reason=reason)


def rehold(state: State, order: Order, changes: Changes) -> None:
    """Recompute a resting buy's reservation after a change of factor, accrued bound or status.

    More than the account has available ends the order: it could not pay.
    """
    loan, account = state.loans[order.loan_id], state.accounts[order.account_id]
    if order.side is Side.SELL:
        return
    hold = hold_of(loan, loan.on(state.today), Side.BUY, order.leaves, order.price)
    if hold == order.hold:
        return
    if hold - order.hold > account.cash[loan.terms.currency].available:
        end(state, order, OrderStatus.CANCELED, CancelReason.FUNDS, changes)
        return
    _set_hold(loan, account, order, hold, changes)
    changes.hold(order)


class Matching:
    """One incoming order against the book: planned and paid for on paper first, then carried out."""

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
            raise InsufficientFunds("available cash does not cover the order", field="order_qty", have=self._cash)

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
        order.priority = next(self.changes.numbers)
        self.loan.book.add(order)
        self.changes.book(self.loan)
        hold = hold_of(self.loan, self.day, order.side, order.leaves, order.price)
        if order.side is Side.BUY:  # rounding of the fills so far may have cost a unit more than was foreseen
            hold = min(hold, self.account.cash[self.loan.terms.currency].available)
        _set_hold(self.loan, self.account, order, hold, self.changes)
        self.account.orders[order.order_id] = order
        self.state.orders[order.order_id] = order
        if order.expire_at is not None:
            self.state.expiries.add((order.expire_at, order.order_id))
        self.changes.refresh(order)

    def _end_rest(self, reason: CancelReason) -> None:
        self.order.status = OrderStatus.CANCELED
        self.cancel_reason = reason
        self.changes.execution(self.order, ExecType.CANCELED, reason=reason)

    def _check(self, maker: Order, quantity: Face) -> Verdict:
        """Judge one planned fill: no cash leg of zero, and whoever buys must be able to pay for it."""
        cost = fill_cost(self.loan, self.day, quantity, maker.price)
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
        hold = _hold_after_fill(self.loan, self, maker, Face(leaves), funds - pays)
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
            _set_hold(loan, maker_account, maker, maker.leaves, self.changes)
        _deliver(loan, buyer, seller, quantity, cost, self.changes)
        _pay(state, loan, buyer, seller, cost, self.changes)
        if maker.side is Side.BUY:
            funds = maker_account.cash[loan.terms.currency].available + maker.hold
            _set_hold(
                loan, maker_account, maker, _hold_after_fill(loan, self, maker, maker.leaves, funds), self.changes
            )
        if loan.last_price != maker.price:
            loan.last_price = maker.price
            self.changes.loan(loan)
        ytm = ytm_ppm(state, loan, maker.price)
        for order, is_maker in ((maker, True), (taker, False)):
            order.cum_cost = Minor(order.cum_cost + cost.principal)
            order.turnover += maker.price * quantity
            order.status = OrderStatus.PARTIALLY_FILLED if order.leaves else OrderStatus.FILLED
            if is_maker and not order.leaves:
                _forget(state, maker_account, order)
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
        self.changes.facts.append(self._traded(trade_id, maker, quantity, cost, ytm))
        self.changes.post(EntryKind.TRADE, str(trade_id), *_dvp_postings(loan, buyer, seller, quantity, cost))

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
        _set_hold(self.loan, account, maker, hold, self.changes)
        maker.version += 1
        self.changes.execution(maker, ExecType.RESTATED)

    def _drop(self, maker: Order, reason: CancelReason) -> None:
        """End a maker that the book has already let go."""
        account = self.state.accounts[maker.account_id]
        _set_hold(self.loan, account, maker, 0, self.changes)
        _forget(self.state, account, maker)
        maker.status = OrderStatus.CANCELED
        self.changes.execution(maker, ExecType.CANCELED, reason=reason)


def order_digest(command: PlaceOrder) -> bytes:
    """Return a hash of what the order says: what "same content" under one client order id means."""
    content = "\0".join(map(str, ORDER_CONTENT(command)))
    return hashlib.blake2b(f"{content}\0{command.tag!r}".encode(), digest_size=16).digest()


def ytm_ppm(state: State, loan: Loan, price: PriceBp) -> int | None:
    """Effective annual yield of buying at `price` today, in millionths, None where it is undefined (flat loans)."""
    if loan.is_flat or loan.next_instalment is None:
        return None
    day = loan.on(state.today)
    if price not in day.yields_ppm:
        flows = remaining_flows(loan.schedule, state.today)
        found = yield_at_price(flows, price, accrued=day.accrued, outstanding=loan.outstanding)
        day.yields_ppm[price] = None if found is None else round(found * 1_000_000)
    return day.yields_ppm[price]


def _limit(state: State, loan: Loan, command: PlaceOrder) -> PriceBp:
    if command.order_type is OrderType.MARKET:
        return admission.market_limit(loan, state, command.side)
    if command.price is None:
        raise InvalidArguments("a limit order needs a price", field="limit_price")
    admission.check_price(loan, command.price)
    return command.price


def _new_order(account: Account, command: PlaceOrder, price: PriceBp, changes: Changes) -> Order:
    is_market = command.order_type is OrderType.MARKET
    return Order(
        order_id=OrderId(changes.seq),
        account_id=account.account_id,
        owner=account.owner,
        loan_id=command.loan_id,
        client_order_id=command.client_order_id,
        side=command.side,
        order_type=command.order_type,
        time_in_force=TimeInForce.IOC if is_market else command.time_in_force,
        expire_at=command.expire_at,
        price=price,
        quantity=command.quantity,
        post_only=command.post_only,
        min_quantity=command.min_quantity,
        display_quantity=command.display_quantity,
        stp=command.stp,
        cancel_on_disconnect=command.cancel_on_disconnect,
        cancel_on_payment=command.cancel_on_payment,
        cancel_on_reschedule=command.cancel_on_reschedule,
        session=command.session,
        tag=command.tag,
        priority=0,
        created_at=changes.at,
    )


def _check_cover(state: State, loan: Loan, account: Account, order: Order, *, quantity: Face) -> None:
    """The seller has the face free, the buyer the cash; what `order` itself already holds counts as free."""
    need = hold_of(loan, loan.on(state.today), order.side, quantity, order.price)
    if order.side is Side.SELL:
        have = account.available_face(loan.terms.loan_id) + order.hold
        if have < need:
            raise InsufficientClaims("available face does not cover the order", field="order_qty", have=have, need=need)
        return
    have = account.available_cash(loan.terms.currency) + order.hold
    if have < need:
        raise InsufficientFunds("available cash does not cover the order", field="order_qty", have=have, need=need)


def _check_plan(loan: Loan, order: Order, plan: MatchPlan) -> None:
    if order.post_only and loan.book.would_cross(order.side, order.price):
        raise PostOnlyCross("a post-only order must not trade at once", field="limit_price")
    if order.time_in_force is TimeInForce.FOK and plan.filled < order.quantity:
        raise FokUnfilled("the whole quantity can't be filled at once", field="order_qty")
    if order.min_quantity is not None and plan.filled < order.min_quantity:
        raise MinQuantityUnfilled("the minimum quantity can't be filled at once", field="min_qty")


def _reduce(state: State, loan: Loan, account: Account, order: Order, quantity: Face, changes: Changes) -> OrderAck:
    if quantity < order.quantity:
        loan.book.reduce(order, quantity)
        changes.book(loan)
        hold = min(order.hold, hold_of(loan, loan.on(state.today), order.side, order.leaves, order.price))
        _set_hold(loan, account, order, hold, changes)
    order.version += 1
    changes.execution(order, ExecType.AMENDED)
    return _ack(order, changes, None, priority_kept=True)


def _replace(
    state: State, loan: Loan, account: Account, order: Order, quantity: Face, price: PriceBp, changes: Changes
) -> OrderAck:
    """Check and plan with the new terms on a stand-in; only then does the order leave its place."""
    wanted = Order(
        order_id=order.order_id,
        account_id=order.account_id,
        owner=order.owner,
        loan_id=order.loan_id,
        side=order.side,
        price=price,
        quantity=Face(quantity - order.filled),
        priority=0,
        post_only=order.post_only,
        stp=order.stp,
    )
    wanted.hold = order.hold
    _check_cover(state, loan, account, wanted, quantity=wanted.quantity)
    if order.post_only and loan.book.would_cross(order.side, price):
        raise PostOnlyCross("a post-only order must not trade at once", field="limit_price")

    loan.book.remove(order)
    changes.book(loan)
    _set_hold(loan, account, order, 0, changes)
    _forget(state, account, order)
    order.price, order.quantity, order.leaves = price, quantity, wanted.quantity
    order.version += 1
    changes.execution(order, ExecType.AMENDED)
    matching = Matching(state, loan, account, order, changes)
    matching.execute()
    return _ack(order, changes, matching.cancel_reason, priority_kept=False)


def _find(account: Account, order_id: OrderId | None, client_order_id: object) -> Order:
    """Return an open order of the account. One that is closed is unknown here: the gateway tells the two apart."""
    if (order_id is None) == (client_order_id is None):
        raise InvalidArguments("name the order by order_id or by cl_ord_id", field="order_id")
    if order_id is None:
        first = account.first_answers.get(client_order_id)  # type: ignore[call-overload]
        order_id = first.order_id if first is not None else None
    order = account.orders.get(order_id) if order_id is not None else None
    if order is None:
        raise UnknownOrder("no such open order")
    return order


def _first_answer(first: OrderAccepted, digest: bytes) -> OrderAck:
    if first.digest != digest:
        raise DuplicateId("this cl_ord_id was used for another order", field="cl_ord_id")
    return OrderAck(
        order_id=first.order_id,
        client_order_id=first.client_order_id,
        order_status=first.order_status,
        filled=first.filled,
        cancel_reason=first.cancel_reason,
        version=1,
        engine_seq=first.order_id,
        duplicate=True,
    )


def _remember_first_answer(
    account: Account, order: Order, digest: bytes, reason: CancelReason | None, changes: Changes
) -> None:
    if order.client_order_id is None:
        raise InvariantViolation("an order without a client order id has no first answer to keep")
    accepted = OrderAccepted(
        order_id=order.order_id,
        account_id=account.account_id,
        client_order_id=order.client_order_id,
        digest=digest,
        order_status=order.status,
        filled=order.filled,
        cancel_reason=reason,
    )
    account.first_answers[order.client_order_id] = accepted
    changes.facts.append(accepted)


def _ack(order: Order, changes: Changes, reason: CancelReason | None, *, priority_kept: bool | None = None) -> OrderAck:
    return OrderAck(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        order_status=order.status,
        filled=order.filled,
        cancel_reason=reason,
        version=order.version,
        engine_seq=changes.seq,
        priority_kept=priority_kept,
    )


def _forget(state: State, account: Account, order: Order) -> None:
    del account.orders[order.order_id]
    del state.orders[order.order_id]
    if order.expire_at is not None:
        state.expiries.discard((order.expire_at, order.order_id))


def _set_hold(loan: Loan, account: Account, order: Order, hold: int, changes: Changes) -> None:
    """Change what `order` reserves, on the order and on its account at once."""
    if order.side is Side.BUY:
        account.cash[loan.terms.currency].held += hold - order.hold
        changes.cash(account, loan.terms.currency)
    else:
        account.claims[loan.terms.loan_id].held += hold - order.hold
        changes.claim(account, loan.terms.loan_id)
    order.hold = hold


def _hold_after_fill(loan: Loan, matching: Matching, maker: Order, leaves: Face, funds: int) -> int:
    """Return a resting buy's hold for what it still wants, at most the funds left for it."""
    return min(hold_of(loan, matching.day, Side.BUY, leaves, maker.price), funds) if leaves else 0


def _deliver(loan: Loan, buyer: Account, seller: Account, quantity: Face, cost: FillCost, changes: Changes) -> None:
    """The claim's leg. The seller's cost leaves at its average, half up, so that nothing of it is left behind at 0."""
    loan_id = loan.terms.loan_id
    sold, bought = seller.claims[loan_id], buyer.claims[loan_id]
    cost_out = (2 * sold.cost * quantity + sold.total) // (2 * sold.total)
    sold.total -= quantity
    sold.cost -= cost_out
    sold.realised += cost.principal - cost_out
    bought.total += quantity
    bought.cost += cost.principal
    changes.claim(seller, loan_id)
    changes.claim(buyer, loan_id)


def _pay(state: State, loan: Loan, buyer: Account, seller: Account, cost: FillCost, changes: Changes) -> None:
    """The cash leg: dirty price from buyer to seller, fees of both to the house."""
    currency = loan.terms.currency
    buyer.cash[currency].total -= cost.buyer_pays
    seller.cash[currency].total += cost.seller_gets
    changes.cash(buyer, currency)
    changes.cash(seller, currency)
    if fees := cost.buyer_fee + cost.seller_fee:
        house = state.accounts[HOUSE]
        house.cash[currency].total += fees
        changes.cash(house, currency)


def _dvp_postings(loan: Loan, buyer: Account, seller: Account, quantity: Face, cost: FillCost) -> Iterable[Posting]:
    currency, loan_id = loan.terms.currency, loan.terms.loan_id
    for account, sign, fee in ((buyer, -1, cost.buyer_fee), (seller, 1, cost.seller_fee)):
        yield Posting(account.account_id, Unit.CASH, currency, Leg.PRINCIPAL, sign * cost.principal)
        yield Posting(account.account_id, Unit.CASH, currency, Leg.ACCRUED, sign * cost.accrued)
        yield Posting(account.account_id, Unit.CASH, currency, Leg.FEE, -fee)
        yield Posting(account.account_id, Unit.FACE, loan_id, Leg.CLAIM, -sign * quantity)
    yield Posting(HOUSE, Unit.CASH, currency, Leg.FEE, cost.buyer_fee + cost.seller_fee)
