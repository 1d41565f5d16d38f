"""Resting orders on another day or after an event: what a rule now forbids ends, buys are reheld, pegs are repriced.

An order pegged to a yield gets the price that its yield has now. It keeps its place if that is the price it has; else
it joins the back of another queue and trades like a new order if it crosses. Where it must not trade (post-only, a
halt, a market mode, a blackout) it stops one tick short of the other side: its yield is honoured all the same.
"""

from collections import defaultdict
from collections.abc import Iterable

from market.commands import Mode
from market.errors import MarketError, YieldFloor
from market.ids import AccountId, Currency, LoanId, PriceBp
from market.orderbook.order import CancelReason, ExecType, Order, OrderStatus, Side
from market.venue import admission
from market.venue.amounts import hold_of
from market.venue.changes import Changes
from market.venue.investors import Exposure, is_limited
from market.venue.lifecycle import by_age, close, end, forget, set_hold
from market.venue.matching import Matching
from market.venue.state import Loan, State


def review_all(state: State, orders: Iterable[Order], changes: Changes) -> None:
    """Oldest first; pegs last, so that none trades with an order that had to go."""
    pegs: dict[LoanId, list[Order]] = {}
    for order in sorted(orders, key=by_age):
        if order.pegged:
            pegs.setdefault(order.loan_id, []).append(order)
        else:
            review(state, order, changes)
    for loan_id in sorted(pegs):
        reprice(state, state.loans[loan_id], pegs[loan_id], changes)


def review(state: State, order: Order, changes: Changes) -> None:
    """End the order if a rule forbids it now, else recompute what it holds."""
    reason = _forbidden(state, state.loans[order.loan_id], order, order.price)
    if reason is not None:
        end(state, order, OrderStatus.CANCELED, reason, changes)
    else:
        rehold(state, order, changes)


def rejudge(state: State, loans: Iterable[Loan], changes: Changes) -> None:
    """Look at the orders of loans that one other rulebook governs now as if they came in, oldest first.

    Those that may stay are then looked at as on a new day.
    """
    changed = {loan.terms.loan_id for loan in loans}
    orders = [order for order in state.orders.values() if order.loan_id in changed]
    exposures: dict[tuple[AccountId, Currency], Exposure] = {}
    kept: defaultdict[tuple[AccountId, LoanId], int] = defaultdict(int)  # face that older sells go on holding
    stay = []
    for order in sorted(orders, key=by_age):
        loan, account = state.loans[order.loan_id], state.accounts[order.account_id]
        key = account.account_id, loan.terms.currency
        if key not in exposures and is_limited(loan, account, order.side):
            others = [each for each in account.bids_and_offers if each.loan_id not in changed]
            exposures[key] = Exposure(state, account, loan.terms.currency, others)
        try:
            if order.side is Side.SELL:
                held = kept[order.account_id, order.loan_id]
                admission.check_lots(loan, account, state.today, order.leaves, held=held)
                kept[order.account_id, order.loan_id] += order.leaves
            elif key in exposures:
                exposures[key].check(loan, order.leaves)
            admission.check_eligibility(loan, account, order.side)
        except MarketError:
            end(state, order, OrderStatus.CANCELED, CancelReason.RULE, changes)
            continue
        if order.side is Side.BUY and key in exposures:
            exposures[key].add(order)
        stay.append(order)
    review_all(state, stay, changes)


def _forbidden(state: State, loan: Loan, order: Order, price: PriceBp) -> CancelReason | None:
    """Return why the order can't rest at `price`. The collar is for orders that come in: the reference moves on."""
    if price % loan.rulebook.tick or order.leaves % loan.rulebook.lot:
        return CancelReason.RULE
    try:
        admission.check_resting(loan, state, price)
    except YieldFloor:
        return CancelReason.YIELD_FLOOR
    except MarketError:
        return CancelReason.RULE
    return None


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


def reprice(state: State, loan: Loan, pegs: Iterable[Order], changes: Changes) -> None:
    """Move the pegs of one loan: all that move leave the book before the first, the oldest, comes back.

    pegs: by age. None of them may have ended in this command.
    """
    moving = []
    for order in pegs:
        price = _admitted_price(state, loan, order, changes)
        if price is None:
            continue
        if _reachable(state, loan, order, price) == order.price:
            rehold(state, order, changes)
        else:
            moving.append((order, price))
    for order, _ in moving:
        loan.book.remove(order)
        changes.book(loan)
    for order, price in moving:
        _put_back(state, loan, order, price, changes)


def _admitted_price(state: State, loan: Loan, order: Order, changes: Changes) -> PriceBp | None:
    """Return the price of the order's yield; an order that has none any more, or must not have it, ends."""
    yield_ppm = order.limit_yield_ppm
    price = None if yield_ppm is None else loan.price_for(yield_ppm, order.side, state.today)
    reason: CancelReason | None = CancelReason.RULE
    if price is not None:
        lowest, highest = admission.price_bounds(loan)
        reason = _forbidden(state, loan, order, price) if lowest <= price <= highest else CancelReason.RULE
    if reason is None:
        return price
    end(state, order, OrderStatus.CANCELED, reason, changes)
    return None


def _put_back(state: State, loan: Loan, order: Order, price: PriceBp, changes: Changes) -> None:
    account = state.accounts[order.account_id]
    price = _reachable(state, loan, order, price)
    hold = hold_of(loan, loan.on(state.today), order.side, order.leaves, price)
    if price <= 0 or (order.side is Side.BUY and hold - order.hold > account.available_cash(loan.terms.currency)):
        close(state, order, OrderStatus.CANCELED, CancelReason.RULE if price <= 0 else CancelReason.FUNDS, changes)
        return
    set_hold(loan, account, order, 0, changes)
    forget(state, account, order)
    order.price = price
    order.version += 1
    changes.execution(order, ExecType.RESTATED)
    Matching(state, loan, account, order, changes).execute()


def _reachable(state: State, loan: Loan, order: Order, price: PriceBp) -> PriceBp:
    """Return `price`, or the nearest one that does not cross where the order must not trade."""
    if not order.post_only and _trades(state, loan):
        return price
    best = loan.book.best(order.side.opposite)
    if best is None:
        return price
    tick = loan.rulebook.tick
    return PriceBp(min(price, best - tick) if order.side is Side.BUY else max(price, best + tick))


def _trades(state: State, loan: Loan) -> bool:
    return (
        state.mode is Mode.OPEN
        and loan.halt_reason is None
        and loan.terms.transferable
        and not admission.in_blackout(loan, state.today)
    )
