"""How an order ends, and what it holds while it is open: the one place where reservations move."""

from collections.abc import Iterable

from market.errors import InvariantViolation
from market.ids import OrderId
from market.orderbook.order import CancelReason, ExecType, Order, OrderStatus, Side
from market.venue.changes import Changes
from market.venue.state import Account, Loan, QuoteKey, State


def by_age(order: Order) -> OrderId:
    return order.order_id


def end_all(state: State, orders: Iterable[Order], status: OrderStatus, reason: CancelReason, changes: Changes) -> None:
    """Oldest first: an order that lost its priority stands elsewhere in memory than in a rebuilt venue."""
    for order in sorted(orders, key=by_age):
        end(state, order, status, reason, changes)


def end(state: State, order: Order, status: OrderStatus, reason: CancelReason, changes: Changes) -> None:
    """Take an open order out of the book for good and release its hold in full."""
    loan = state.loans[order.loan_id]
    loan.book.remove(order)
    changes.book(loan)
    close(state, order, status, reason, changes)


def close(state: State, order: Order, status: OrderStatus, reason: CancelReason, changes: Changes) -> None:
    """End an order that the book has let go already: release its hold in full and say why."""
    loan, account = state.loans[order.loan_id], state.accounts[order.account_id]
    set_hold(loan, account, order, 0, changes)
    forget(state, account, order)
    order.status = status
    changes.execution(order, ExecType.EXPIRED if status is OrderStatus.EXPIRED else ExecType.CANCELED, reason=reason)


def rest(state: State, loan: Loan, account: Account, order: Order, hold: int, changes: Changes) -> None:
    """Let an order queue at the back of its level, which it must not cross, and reserve `hold` for it."""
    order.priority = next(changes.numbers)
    loan.book.add(order)
    changes.book(loan)
    set_hold(loan, account, order, hold, changes)
    remember(state, account, order)


def remember(state: State, account: Account, order: Order) -> None:
    """List an order that is open from now on."""
    if order.quote is None:
        account.orders[order.order_id] = order
    else:
        account.quotes[quote_key(order)] = order
    state.orders[order.order_id] = order
    if order.expire_at is not None:
        state.expiries.add((order.expire_at, order.order_id))


def quote_key(order: Order) -> QuoteKey:
    if order.quote is None:
        raise InvariantViolation(f"order {order.order_id} is no quote")
    return order.loan_id, order.quote.quote_set, order.side is Side.BUY


def forget(state: State, account: Account, order: Order) -> None:
    if order.quote is None:
        del account.orders[order.order_id]
    else:
        del account.quotes[quote_key(order)]
    del state.orders[order.order_id]
    if order.expire_at is not None:
        state.expiries.discard((order.expire_at, order.order_id))


def set_hold(loan: Loan, account: Account, order: Order, hold: int, changes: Changes) -> None:
    """Change what `order` reserves, on the order and on its account at once."""
    if order.side is Side.BUY:
        account.cash[loan.terms.currency].held += hold - order.hold
        changes.cash(account, loan.terms.currency)
    else:
        account.claims[loan.terms.loan_id].held += hold - order.hold
        changes.claim(account, loan.terms.loan_id)
    order.hold = hold


def reserve(state: State, order: Order, change: int) -> None:
    """Change what `order`'s account has reserved, where nobody is told: memory comes to be as it was."""
    account, loan = state.accounts[order.account_id], state.loans[order.loan_id]
    if order.side is Side.BUY:
        account.cash[loan.terms.currency].held += change
    else:
        account.claims[order.loan_id].held += change
