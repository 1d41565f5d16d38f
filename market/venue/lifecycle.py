"""How an order ends, and what it holds while it is open: the one place where reservations move."""

from collections.abc import Iterable

from market.ids import OrderId
from market.orderbook.order import CancelReason, ExecType, Order, OrderStatus, Side
from market.venue.amounts import hold_of
from market.venue.changes import Changes
from market.venue.state import Account, Loan, State


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
    set_hold(loan, account, order, 0, changes)
    forget(state, account, order)
    order.status = status
    changes.execution(order, ExecType.EXPIRED if status is OrderStatus.EXPIRED else ExecType.CANCELED, reason=reason)


def review(state: State, order: Order, changes: Changes) -> None:
    """Look at a resting order again on another day or after an event: what a rule now forbids ends, a buy is reheld."""
    loan = state.loans[order.loan_id]
    cap = loan.on(state.today).price_cap
    if loan.status not in loan.rulebook.tradable_statuses:
        end(state, order, OrderStatus.CANCELED, CancelReason.RULE, changes)
    elif cap is not None and order.price > cap:
        end(state, order, OrderStatus.CANCELED, CancelReason.YIELD_FLOOR, changes)
    else:
        rehold(state, order, changes)


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
    set_hold(loan, account, order, hold, changes)
    changes.hold(order)


def forget(state: State, account: Account, order: Order) -> None:
    del account.orders[order.order_id]
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
