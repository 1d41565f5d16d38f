"""What the owner of an order may ask: place, amend, cancel. Every check comes before the first change."""

import hashlib
from dataclasses import fields
from operator import attrgetter

from market.commands import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    CheckOrder,
    CountAck,
    Done,
    Fenced,
    OrderAck,
    OrderPriced,
    PlaceOrder,
    ResolveOrder,
    Unblock,
)
from market.errors import (
    DuplicateId,
    FokUnfilled,
    InsufficientClaims,
    InsufficientFunds,
    InvalidArguments,
    InvalidPrice,
    InvalidQuantity,
    InvariantViolation,
    MinQuantityUnfilled,
    PostOnlyCross,
    StaleBook,
    UnknownOrder,
    VersionMismatch,
)
from market.events import IdFenced, OrderAccepted
from market.ids import Face, Nanos, OrderId, PriceBp
from market.orderbook.book import MatchPlan
from market.orderbook.depth import CHECKED_LEVELS, digest
from market.orderbook.order import (
    IMMEDIATE,
    CancelReason,
    ExecType,
    Order,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)
from market.venue import admission
from market.venue.amounts import hold_of
from market.venue.changes import Changes
from market.venue.lifecycle import end, end_all, forget, set_hold
from market.venue.matching import Matching
from market.venue.state import Account, Loan, State

# Not content: the id itself, the session it came from and what that asked for, conditions of the moment. The free tag
# is added apart.
NOT_CONTENT = {"client_order_id", "session", "cancel_on_disconnect", "tag", "deadline", "if_book"}
BY_YIELD = {"limit_yield_ppm", "pegged"}  # content of orders by yield alone
ORDER_CONTENT = attrgetter(*sorted({field.name for field in fields(PlaceOrder)} - NOT_CONTENT - BY_YIELD))


def place(state: State, command: PlaceOrder, changes: Changes) -> OrderAck:
    account = state.account(command.account_id)
    if (first := _first_of(account, command)) is not None:
        return first
    matching = _admit(state, account, command, changes)
    order = matching.order
    changes.execution(order, ExecType.NEW)
    matching.execute()
    if order.client_order_id is not None:
        _remember_first_answer(account, order, order_digest(command), matching.cancel_reason, changes)
    return _ack(order, changes, matching.cancel_reason)


def check(state: State, command: CheckOrder, changes: Changes) -> OrderAck | OrderPriced:
    """Judge the order as `place` would, and price it. An id that was used is answered as `place` would, too."""
    account = state.account(command.order.account_id)
    first = _first_of(account, command.order)
    return first if first is not None else _admit(state, account, command.order, changes).priced()


def _admit(state: State, account: Account, command: PlaceOrder, changes: Changes) -> Matching:
    """Return the order planned and ready to be carried out, or raise what refuses it. Changes nothing."""
    admission.check_deadline(command.deadline, changes.at)
    admission.check_account(account)
    loan = state.loan(command.loan_id)
    admission.check_loan(loan)
    admission.check_mode(state.mode, post_only=command.post_only)
    price = _limit(state, loan, command)
    admission.check_quantity(loan, command.quantity, price)
    admission.check_parts(
        loan, command.quantity, min_quantity=command.min_quantity, display_quantity=command.display_quantity
    )
    admission.check_rulebook(loan, state, price)
    rests = command.order_type is not OrderType.MARKET and command.time_in_force not in IMMEDIATE
    expire_at = admission.expiry(loan, command.expire_at, changes.at, rests=rests)
    admission.check_open_orders(loan, account)
    check_amount(state, loan, account, command.side, command.quantity)
    order = _new_order(account, command, price, expire_at, changes)
    if order.order_type is not OrderType.MARKET or order.side is Side.SELL:
        check_cover(state, loan, account, order, quantity=order.quantity)
    matching = Matching(state, loan, account, order, changes)
    if order.order_type is OrderType.MARKET:
        matching.require_funds_for_all()
    _check_plan(loan, order, matching.plan)
    if command.if_book is not None and command.if_book != _book_digest(loan):
        raise StaleBook("the book has moved on", field="if_book_seq")
    return matching


def amend(state: State, command: AmendOrder, changes: Changes) -> OrderAck:
    """Quantity down keeps priority; a new price or more quantity joins the back, and may match like a new order."""
    account = state.account(command.account_id)
    admission.check_deadline(command.deadline, changes.at)
    admission.check_account(account)
    order = _find(account, command.order_id, command.client_order_id)
    _check_version(order, command.if_version)
    loan = state.loan(order.loan_id)
    admission.check_loan(loan)
    admission.check_mode(state.mode, post_only=order.post_only)
    if command.price is not None and order.order_type is OrderType.YIELD:
        raise InvalidArguments("an order by yield has no price of its own: cancel it", field="limit_price")
    price = order.price if command.price is None else command.price
    quantity = order.quantity if command.quantity is None else command.quantity
    if price != order.price:
        admission.check_price(loan, price)
    admission.check_quantity(loan, quantity, price)
    if quantity <= order.filled:
        text = "the total is not above what is filled: cancel instead"
        raise InvalidQuantity(text, field="order_qty", rule="filled", bound=order.filled)
    if price != order.price or quantity > order.quantity:
        admission.check_rulebook(loan, state, price)
    if quantity > order.quantity:
        check_amount(state, loan, account, order.side, Face(quantity - order.filled), own=order)
    if price == order.price and quantity <= order.quantity:
        return _reduce(state, loan, account, order, quantity, changes)
    return _replace(state, loan, account, order, quantity, price, changes)


def cancel(state: State, command: CancelOrder, changes: Changes) -> OrderAck:
    account = state.account(command.account_id)
    order = _find(account, command.order_id, command.client_order_id)
    _check_version(order, command.if_version)
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
        and (command.cancel_on_disconnect is None or order.cancel_on_disconnect is command.cancel_on_disconnect)
    ]
    quotes = [
        quote
        for quote in account.quotes.values()
        if command.tag is None
        and command.cancel_on_disconnect is None
        and (command.loan_id is None or quote.loan_id == command.loan_id)
        and (command.side is None or quote.side is command.side)
        and (command.session is None or quote.session == command.session)
    ]
    cause = CancelReason.KILL_SWITCH if command.block else command.cause
    end_all(state, [*chosen, *quotes], OrderStatus.CANCELED, cause, changes)
    if command.block and not account.blocked:
        account.blocked = True
        changes.account(account)
    return CountAck(count=len(chosen), quotes=len(quotes))


def unblock(state: State, command: Unblock, changes: Changes) -> Done:
    account = state.account(command.account_id)
    if not account.blocked:
        return Done(duplicate=True)
    account.blocked = False
    changes.account(account)
    return Done()


def resolve(state: State, command: ResolveOrder, changes: Changes) -> OrderAck | Fenced:
    """Return the order's first answer; without an order use its id up, so that a late copy can't make one."""
    account, wanted = state.account(command.account_id), command.client_order_id
    if (first := account.first_answers.get(wanted)) is not None:
        return _repeated(first)
    if wanted not in account.fenced_ids:
        account.fenced_ids.add(wanted)
        changes.facts.append(IdFenced(account_id=account.account_id, client_order_id=wanted))
    return Fenced()


def order_digest(command: PlaceOrder) -> bytes:
    """Return a hash of what the order says: what "same content" under one client order id means."""
    content = "\0".join(map(str, ORDER_CONTENT(command)))
    if command.limit_yield_ppm is not None:
        content += f"\0{command.limit_yield_ppm}\0{command.pegged}"
    return hashlib.blake2b(f"{content}\0{command.tag!r}".encode(), digest_size=16).digest()


def _limit(state: State, loan: Loan, command: PlaceOrder) -> PriceBp:
    if command.order_type is OrderType.MARKET:
        return admission.market_limit(loan, state, command.side)
    if command.order_type is OrderType.YIELD:
        return _limit_by_yield(state, loan, command)
    if command.price is None:
        raise InvalidArguments("a limit order needs a price", field="limit_price")
    admission.check_price(loan, command.price)
    return command.price


def _limit_by_yield(state: State, loan: Loan, command: PlaceOrder) -> PriceBp:
    if command.limit_yield_ppm is None:
        raise InvalidArguments("an order by yield needs one", field="limit_yield")
    price = loan.price_for(command.limit_yield_ppm, command.side, state.today)
    if price is None:
        raise InvalidPrice("no price of this loan gives such a yield today", field="limit_yield")
    admission.check_price(loan, price, field="limit_yield")
    return price


def _new_order(
    account: Account, command: PlaceOrder, price: PriceBp, expire_at: Nanos | None, changes: Changes
) -> Order:
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
        expire_at=expire_at,
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
        limit_yield_ppm=command.limit_yield_ppm,
        pegged=command.pegged,
    )


def check_amount(
    state: State, loan: Loan, account: Account, side: Side, quantity: Face, *, own: Order | None = None
) -> None:
    """Whether its rulebook lets this account want or give so much of the loan. own: the order that it replaces."""
    if side is Side.SELL:
        claim = account.claims.get(loan.terms.loan_id)
        held = 0 if claim is None else claim.held - (0 if own is None else own.hold)
        admission.check_lots(loan, account, state.today, quantity, held=held)
    admission.check_limits(state, loan, account, side, quantity, own=own)
    admission.check_eligibility(loan, account, side)


def check_cover(state: State, loan: Loan, account: Account, order: Order, *, quantity: Face) -> int:
    """The seller has the face free, the buyer the cash; what `order` itself already holds counts as free.

    Returns what the order needs.
    """
    need = hold_of(loan, loan.on(state.today), order.side, quantity, order.price)
    if order.side is Side.SELL:
        have = account.available_face(loan.terms.loan_id) + order.hold
        if have < need:
            raise InsufficientClaims("available face does not cover the order", field="order_qty", have=have, need=need)
        return need
    currency = loan.terms.currency
    have = account.available_cash(currency) + order.hold
    if have < need:
        text = "available cash does not cover the order"
        raise InsufficientFunds(text, field="order_qty", have=have, need=need, currency=currency)
    return need


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
        set_hold(loan, account, order, hold, changes)
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
    check_cover(state, loan, account, wanted, quantity=wanted.quantity)
    if order.post_only and loan.book.would_cross(order.side, price):
        raise PostOnlyCross("a post-only order must not trade at once", field="limit_price")

    loan.book.remove(order)
    changes.book(loan)
    set_hold(loan, account, order, 0, changes)
    forget(state, account, order)
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


def _check_version(order: Order, wanted: int | None) -> None:
    if wanted is not None and wanted != order.version:
        raise VersionMismatch(f"the order has version {order.version}", field="if_version", version=order.version)


def _book_digest(loan: Loan) -> int:
    best = (loan.book.levels(side, CHECKED_LEVELS) for side in (Side.BUY, Side.SELL))
    return digest(*best)


def _first_of(account: Account, command: PlaceOrder) -> OrderAck | None:
    """Return the first answer to an order that was placed before, None if this one is new."""
    if command.client_order_id is None:
        return None
    if command.client_order_id in account.fenced_ids:
        raise DuplicateId("this cl_ord_id was resolved as unknown and is used up", field="cl_ord_id")
    first = account.first_answers.get(command.client_order_id)
    return None if first is None else _first_answer(first, order_digest(command))


def _first_answer(first: OrderAccepted, digest: bytes) -> OrderAck:
    if first.digest != digest:
        raise DuplicateId("this cl_ord_id was used for another order", field="cl_ord_id")
    return _repeated(first)


def _repeated(first: OrderAccepted) -> OrderAck:
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
