"""May this order enter the book? Each rule refuses with its own error and changes nothing.

The order of the checks is part of the contract (PROTOCOL, "Which code"): loan, mode, price, quantity, rulebook,
eligibility; holdings, funds and what the book says follow in trading.py.
"""

from datetime import date

from market.claims.loan import LIVE_STATUSES
from market.commands import AccountKind, Mode
from market.errors import (
    AccountFrozen,
    BelowMinimum,
    DeadlineElapsed,
    InvalidPrice,
    InvalidQuantity,
    KillSwitch,
    LoanClosed,
    LoanHalted,
    MarketMode,
    NotEligible,
    NotTransferable,
    PriceOutOfBand,
    RuleViolation,
    YieldFloor,
)
from market.ids import Face, Nanos, PriceBp
from market.money import decimal_text, div_up
from market.orderbook.order import Order, Side
from market.venue.amounts import principal_of
from market.venue.investors import Exposure, check_suitability, is_limited
from market.venue.lots import eligible_face, is_worn_out
from market.venue.state import PAR, Account, Loan, State

HOUR = 3_600 * 10**9  # in nanoseconds


def check_deadline(deadline: Nanos | None, now: Nanos) -> None:
    if deadline is not None and deadline <= now:
        raise DeadlineElapsed("the deadline has passed", field="deadline")


def check_account(account: Account) -> None:
    if account.frozen:
        raise AccountFrozen(f"account {account.account_id} is frozen")
    if account.blocked:
        raise KillSwitch("the kill switch is on: unblock first")


def check_loan(loan: Loan) -> None:
    if loan.status not in LIVE_STATUSES:
        raise LoanClosed(f"loan {loan.terms.loan_id} is {loan.status}", loan_status=loan.status)
    if loan.halt_reason is not None:
        raise LoanHalted(f"trading is halted: {loan.halt_reason}", reason=loan.halt_reason)
    check_transferable(loan)


def check_transferable(loan: Loan) -> None:
    if not (loan.terms.transferable and loan.rulebook.transferable):
        raise NotTransferable(f"claims on {loan.terms.loan_id} can't be assigned", rule="transferable")


def check_mode(mode: Mode, *, post_only: bool) -> None:
    if mode is Mode.OPEN or (mode is Mode.POST_ONLY and post_only):
        return
    raise MarketMode(f"the market is in {mode} mode", mode=mode)


def check_price(loan: Loan, price: PriceBp, *, field: str = "limit_price") -> None:
    rules = loan.rulebook
    if price <= 0 or price % rules.tick:
        text = f"the price must be a positive multiple of the tick, {rules.tick} bp"
        raise InvalidPrice(text, field=field, rule="tick", bound=rules.tick)
    lowest, highest = price_bounds(loan)
    if not lowest <= price <= highest:
        text = f"the price must be within {decimal_text(lowest)} to {decimal_text(highest)}"
        if rules.price_min <= price <= rules.price_max:
            rule, bound = "collar_pct", lowest if price < lowest else highest
        else:
            rule, bound = ("price_min", rules.price_min) if price < lowest else ("price_max", rules.price_max)
        raise PriceOutOfBand(text, field=field, rule=rule, bound=bound)


def price_bounds(loan: Loan) -> tuple[PriceBp, PriceBp]:
    """Return the lowest and highest price admitted now: band and collar, both inclusive, on tick."""
    rules, reference = loan.rulebook, loan.reference_price
    lowest = max(div_up(reference * (PAR - rules.collar_bp), PAR), rules.price_min)
    highest = min(reference * (PAR + rules.collar_bp) // PAR, rules.price_max)
    return PriceBp(div_up(lowest, rules.tick) * rules.tick), PriceBp(highest // rules.tick * rules.tick)


def market_limit(loan: Loan, state: State, side: Side) -> PriceBp:
    """Return the limit that a market order gets: collar and rulebook, and for a buyer never below the yield floor."""
    rules = loan.rulebook
    lowest, highest = price_bounds(loan)
    if side is Side.SELL:
        return lowest if rules.max_discount_bp is None else max(lowest, PriceBp(PAR - rules.max_discount_bp))
    if not rules.premium_allowed:
        highest = min(highest, PAR)
    cap = loan.on(state.today).price_cap
    return highest if cap is None else min(highest, PriceBp(cap // loan.rulebook.tick * loan.rulebook.tick))


def check_quantity(loan: Loan, quantity: Face, price: PriceBp) -> None:
    rules = loan.rulebook
    if quantity <= 0 or quantity % rules.lot:
        text = f"the quantity must be a positive multiple of the lot, {decimal_text(rules.lot)}"
        raise InvalidQuantity(text, field="order_qty", rule="lot", bound=rules.lot)
    if quantity < rules.min_face:
        least = rules.min_face
        text = f"the quantity is below the minimum face, {decimal_text(least)}"
        raise BelowMinimum(text, field="order_qty", rule="min_face", bound=least, need=least)
    if principal_of(loan, quantity, price) < rules.min_consideration:
        text = f"the consideration would round below the minimum, {decimal_text(rules.min_consideration)}"
        raise BelowMinimum(text, field="order_qty", rule="min_consideration", bound=rules.min_consideration)


def check_parts(loan: Loan, quantity: Face, *, min_quantity: Face | None, display_quantity: Face | None) -> None:
    """Minimum and displayed quantity: whole lots, not above the order, and no iceberg whose tip is dust."""
    lot, min_face = loan.rulebook.lot, loan.rulebook.min_face
    for field, part, rule, least in (
        ("min_qty", min_quantity, "lot", lot),
        ("display_qty", display_quantity, "min_face", min_face),
    ):
        if part is not None and (part < least or part % lot or part > quantity):
            text = f"{field} must be whole lots, at least {decimal_text(least)}, at most the quantity"
            raise InvalidQuantity(text, field=field, rule="lot" if part % lot else rule, bound=least)


def check_rulebook(loan: Loan, state: State, price: PriceBp) -> None:
    """What the rulebook says of an order that comes in, and that a claim can't trade before it exists."""
    if state.today < (issued := loan.terms.issue_date):
        raise RuleViolation(f"the loan is issued on {issued}: no orders before", rule="issue_date")
    if in_blackout(loan, state.today):
        days = loan.rulebook.blackout_days
        text = f"no orders on a due date and {days} days before it"
        raise RuleViolation(text, rule="blackout_days")
    check_resting(loan, state, price)


def check_resting(loan: Loan, state: State, price: PriceBp) -> None:
    """What the rulebook says of an order for as long as it lives."""
    rules = loan.rulebook
    check_transferable(loan)
    if loan.status not in rules.tradable_statuses:
        raise RuleViolation(f"a {loan.status} loan does not trade under {rules.name}", rule="tradable_statuses")
    if price > PAR and not rules.premium_allowed:
        text = "no premium is allowed: at most 100.00"
        raise RuleViolation(text, field="limit_price", rule="premium_allowed", bound=PAR)
    if rules.max_discount_bp is not None and PAR - price > rules.max_discount_bp:
        lowest = PAR - rules.max_discount_bp
        text = f"the discount is too large: at least {decimal_text(lowest)}"
        raise RuleViolation(text, field="limit_price", rule="max_discount_pct", bound=lowest)
    cap = loan.on(state.today).price_cap
    if cap is not None and price > cap:
        highest = max(cap, 0)
        text = f"above {decimal_text(highest)} a buyer would yield less than the floor"
        raise YieldFloor(text, field="limit_price", rule="yield_floor", bound=highest)


def in_blackout(loan: Loan, today: date) -> bool:
    if not loan.rulebook.blackout_days:
        return False
    return any(0 <= (row.due_date - today).days <= loan.rulebook.blackout_days for row in loan.schedule.rows)


def expiry(loan: Loan, expire_at: Nanos | None, now: Nanos, *, rests: bool) -> Nanos | None:
    """Return when an order ends: when it was asked to, or at the end of the life that the rulebook gives it."""
    hours = loan.rulebook.order_life_hours
    if hours is None or not rests:
        return expire_at
    latest = Nanos(now + hours * HOUR)
    if expire_at is not None and expire_at > latest:
        raise RuleViolation(f"an order lives {hours} hours at most", field="expire_time", rule="order_life_hours")
    return latest if expire_at is None else expire_at


def check_open_orders(loan: Loan, account: Account) -> None:
    if len(account.orders) >= loan.rulebook.max_open_orders:
        most = loan.rulebook.max_open_orders
        raise RuleViolation(f"too many open orders: {most} at most", rule="max_open_orders")


def check_lots(loan: Loan, account: Account, today: date, quantity: Face, *, held: int) -> None:
    """A sale takes lots that were held long enough and not assigned too often. held: what other sells hold of them.

    Where all that is there may be sold, it is for the check of holdings to say whether that is enough.
    """
    rules, claim = loan.rulebook, account.claims.get(loan.terms.loan_id)
    if claim is None or (not rules.min_holding_days and rules.max_transfers is None):
        return
    eligible = eligible_face(claim.lots, rules, today)
    if quantity <= eligible - held or eligible == claim.total:
        return
    worn_out = sum(lot.face for lot in claim.lots if is_worn_out(lot, rules))
    rule, text = "min_holding_days", f"was held for {rules.min_holding_days} days"
    if worn_out and claim.total - worn_out - held < quantity:
        rule, text = "max_transfers", f"can be assigned again, after at most {rules.max_transfers} transfers"
    have = eligible - held
    raise RuleViolation(
        f"only {decimal_text(have)} of the claim {text}", field="order_qty", rule=rule, have=have, need=quantity
    )


def check_limits(state: State, loan: Loan, account: Account, side: Side, quantity: Face, *, own: Order | None) -> None:
    """What an investor may have, with his open buys but without `own`, the order that is to be replaced."""
    if is_limited(loan, account, side):
        others = (order for order in account.bids_and_offers if order is not own)
        Exposure(state, account, loan.terms.currency, others).check(loan, quantity)


def check_eligibility(loan: Loan, account: Account, side: Side) -> None:
    if account.kind is AccountKind.HOUSE and side is Side.BUY:
        raise NotEligible("a house account holds fees only and can never buy")
    check_suitability(loan, account, side)
