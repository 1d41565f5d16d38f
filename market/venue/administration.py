"""Commands of the operator and the calendar: accounts, cash, loans, halts, modes, the business day.

Each is idempotent where the contract says so: a repeat with the same content changes nothing and says `duplicate`,
the same id with other content is refused.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

from market.claims.loan import LIVE_STATUSES, LoanStatus
from market.claims.schedule import schedule_of
from market.claims.servicing import status_on
from market.commands import (
    AccountKind,
    CancelAll,
    Deposit,
    Done,
    ExpireOrders,
    FreezeAccount,
    HaltLoan,
    IssueFace,
    Mode,
    OpenAccount,
    OpenMarket,
    RegisterLoan,
    RollDay,
    SetMode,
    Withdraw,
)
from market.errors import (
    DuplicateId,
    InvalidArguments,
    InvalidQuantity,
    LoanClosed,
    NotEligible,
    RuleViolation,
)
from market.events import CustodyMoved
from market.ids import Face
from market.orderbook.book import OrderBook
from market.orderbook.order import CancelReason, ExecType, OrderStatus, Side, TimeInForce
from market.partitions import partition_of
from market.settlement.journal import CUSTODY, ISSUE, EntryKind, Leg, Posting, Unit
from market.venue import lots, trading
from market.venue.amounts import principal_of
from market.venue.changes import Changes
from market.venue.lifecycle import by_age, end, end_all
from market.venue.review import reprice, review_all
from market.venue.rulebook import OPEN
from market.venue.state import PAR, Account, Loan, State

ACCOUNT_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")
LOAN_ID = re.compile(r"[A-Z0-9._-]{1,32}")
CURRENCY = re.compile(r"[A-Z]{3}")
RESERVED_ACCOUNTS = frozenset({CUSTODY, ISSUE})


def open_market(state: State, command: OpenMarket, changes: Changes) -> Done:
    if state.business_date is not None:
        return Done(duplicate=True)
    state.business_date = command.business_date
    changes.market_changed = True
    return Done()


def open_account(state: State, command: OpenAccount, changes: Changes) -> Done:
    _require(ACCOUNT_ID.fullmatch(command.account_id), "account_id", "1 to 32 of A-Z a-z 0-9 . _ -")
    _require(command.account_id not in RESERVED_ACCOUNTS, "account_id", "the ledger's own accounts can't be opened")
    digest = _digest(command)
    if (present := state.accounts.get(command.account_id)) is not None:
        return _repeat(present.digest, digest, "account_id")
    account = Account(
        account_id=command.account_id,
        kind=command.kind,
        name=command.name,
        owner_group=command.owner_group,
        risk_class=command.risk_class,
        digest=digest,
    )
    state.accounts[account.account_id] = account
    changes.account(account)
    return Done()


def freeze_account(state: State, command: FreezeAccount, changes: Changes) -> Done:
    """A frozen account may only cancel; its open orders are cancelled at once."""
    account = state.account(command.account_id)
    if account.frozen is command.frozen:
        return Done(duplicate=True)
    account.frozen = command.frozen
    changes.account(account)
    if account.frozen:
        every_order = CancelAll(account_id=account.account_id, cause=CancelReason.ADMIN)
        trading.cancel_all(state, every_order, changes)
    return Done()


def move_cash(state: State, command: Deposit | Withdraw, changes: Changes) -> Done:
    """Book what the custodian confirmed. A withdrawal takes only what no order holds."""
    _require(CURRENCY.fullmatch(command.currency), "currency", "an ISO 4217 code")
    _require(1 <= len(command.custody_ref) <= 128, "custody_ref", "1 to 128 characters")
    _require(command.amount > 0, "amount", "more than 0")
    _require(partition_of(changes.seq) == 0, "account_id", "paid in and out where the market's partition 0 is")
    digest = _digest(command)
    if (done := state.custody.get(command.custody_ref)) is not None:
        return _repeat(done.digest, digest, "custody_ref")
    account, currency = state.account(command.account_id), command.currency
    is_deposit = isinstance(command, Deposit)
    if is_deposit and account.kind is AccountKind.HOUSE:
        raise NotEligible("a house account holds fees only", field="account_id")
    if not is_deposit:
        account.require_cash(currency, command.amount)
    kind, leg = (EntryKind.DEPOSIT, Leg.DEPOSIT) if is_deposit else (EntryKind.WITHDRAWAL, Leg.WITHDRAWAL)
    amount = command.amount if is_deposit else -command.amount
    account.cash[currency].total += amount
    state.custody_totals[currency] += amount
    moved = CustodyMoved(
        custody_ref=command.custody_ref,
        account_id=account.account_id,
        currency=currency,
        amount=amount,
        digest=digest,
    )
    state.custody[command.custody_ref] = moved
    changes.facts.append(moved)
    changes.post(
        kind,
        command.custody_ref,
        Posting(account.account_id, Unit.CASH, currency, leg, amount),
        Posting(CUSTODY, Unit.CASH, currency, leg, -amount),
    )
    changes.cash(account, currency)
    return Done()


def register_loan(state: State, command: RegisterLoan, changes: Changes) -> Done:
    terms = command.terms
    _require(LOAN_ID.fullmatch(terms.loan_id), "loan_id", "1 to 32 of A-Z 0-9 . _ -")
    digest = _digest(replace(command, rulebook=command.rulebook or OPEN.name))  # as it was before there were defaults
    if (present := state.loans.get(terms.loan_id)) is not None:
        return _repeat(present.digest, digest, "loan_id")
    _check_terms(state, command)
    loan = Loan(
        terms=terms,
        digest=digest,
        status=command.status,
        outstanding=terms.outstanding_at_registration,
        issued=Face(0),
        schedule=schedule_of(terms),
        rulebook=state.rulebooks[_rulebook_of(state, command)],
        book=OrderBook(terms.loan_id),
    )
    state.add_loan(loan)
    changes.loan(loan)
    if command.issued_face:
        _issue(state, loan, command.issued_face, changes)
    return Done()


def issue_face(state: State, command: IssueFace, changes: Changes) -> Done:
    loan = state.loan(command.loan_id)
    if loan.status not in LIVE_STATUSES:
        raise LoanClosed(f"loan {command.loan_id} is {loan.status}", loan_status=loan.status)
    if command.face <= 0:
        raise InvalidQuantity("the face must be positive", field="face")
    lending = state.lending_of(loan)
    room = min(loan.terms.original_principal - loan.issued, lending.lent - lending.transferred)
    if command.face > room:
        text = f"only {room / 100:.2f} can still be issued"
        raise RuleViolation(text, field="face", rule="balance_coefficient", bound=room)
    _issue(state, loan, command.face, changes)
    return Done()


def halt_loan(state: State, command: HaltLoan, changes: Changes) -> Done:
    """Resting orders keep their place: suspended while the halt lasts, as they were after it."""
    loan = state.loan(command.loan_id)
    if (loan.halt_reason is not None) is command.halted:
        return Done(duplicate=True)
    loan.halt_reason = (command.reason or "halted") if command.halted else None
    changes.loan(loan)
    for order in [*loan.book.orders(Side.BUY), *loan.book.orders(Side.SELL)]:
        if command.halted:
            order.status = OrderStatus.SUSPENDED
            changes.execution(order, ExecType.SUSPENDED)
        else:
            order.status = OrderStatus.PARTIALLY_FILLED if order.filled else OrderStatus.NEW
            changes.execution(order, ExecType.RESTATED)
    if not command.halted:
        _reprice_pegs(state, [loan], changes)
    return Done()


def set_mode(state: State, command: SetMode, changes: Changes) -> Done:
    if state.mode is command.mode:
        return Done(duplicate=True)
    state.mode = command.mode
    changes.market_changed = True
    if state.mode is Mode.OPEN:
        _reprice_pegs(state, state.loans.values(), changes)
    return Done()


def roll_day(state: State, command: RollDay, changes: Changes) -> Done:
    if command.to <= state.today:
        raise InvalidArguments(f"the business date is {state.today} and only moves forward", field="to")
    changes.market_changed = True
    while state.today < command.to:
        _roll_one_day(state, state.today + timedelta(days=1), changes)
    return Done()


def expire_orders(state: State, _command: ExpireOrders, changes: Changes) -> Done:
    """End every good-till-date order whose time has come."""
    while state.expiries and state.expiries[0][0] <= changes.at:
        _, order_id = state.expiries[0]
        end(state, state.orders[order_id], OrderStatus.EXPIRED, CancelReason.EXPIRED, changes)
    return Done()


def _reprice_pegs(state: State, loans: Iterable[Loan], changes: Changes) -> None:
    """Pegs that moved while there was no trading stopped short of the other side: now they may meet it."""
    for loan in sorted(loans, key=lambda loan: loan.terms.loan_id):
        orders = [*loan.book.orders(Side.BUY), *loan.book.orders(Side.SELL)]
        if pegs := sorted((order for order in orders if order.pegged), key=by_age):
            reprice(state, loan, pegs, changes)


def _roll_one_day(state: State, day: date, changes: Changes) -> None:
    """Day orders of the day before expire; then each loan is looked at as of `day`: status, accrued, holds, floor.

    Time alone makes no loan better than its servicer said: it is a payment that cures arrears.
    Loans go by id, orders by age, so that a rebuilt venue does it in the same order.
    """
    day_orders = [order for order in state.orders.values() if order.time_in_force is TimeInForce.DAY]
    end_all(state, day_orders, OrderStatus.EXPIRED, CancelReason.EXPIRED, changes)
    state.business_date = day
    for loan_id in sorted(state.loans):
        loan = state.loans[loan_id]
        loan.day = None
        status = status_on(loan.standing, day, loan.rulebook.grace_days)
        if status not in (loan.status, LoanStatus.CURRENT) and loan.status is not LoanStatus.LATE:
            loan.status = status
            loan.terms = replace(loan.terms, never_late=False)
            changes.loan(loan)
    review_all(state, list(state.orders.values()), changes)


def _check_terms(state: State, command: RegisterLoan) -> None:
    terms = command.terms
    originator = state.account(terms.originator)
    _require(originator.kind is AccountKind.ORIGINATOR, "originator", "an account of kind originator")
    _require(CURRENCY.fullmatch(terms.currency), "currency", "an ISO 4217 code")
    _require(terms.original_principal > 0, "original_principal", "more than 0")
    _require(
        0 <= terms.outstanding_at_registration <= terms.original_principal,
        "outstanding_principal",
        "0 to the original principal",
    )
    _require(0 <= terms.annual_rate_ppm <= 10_000_000, "annual_rate", "0 to 10")
    _require(1 <= terms.term_months <= 1_200, "term_months", "1 to 1200")
    _require(
        1 <= terms.months_per_period <= terms.term_months and terms.term_months % terms.months_per_period == 0,
        "months_per_period",
        "a divisor of the term",
    )
    _require(terms.first_due_date > terms.issue_date, "first_due_date", "after the issue date")
    known = ", ".join(sorted(state.rulebooks))
    _require(_rulebook_of(state, command) in state.rulebooks, "rulebook", f"one of {known}")
    # A servicer may call a loan current on the day of its last payment: it can be registered, without claims to sell.
    owed = command.status not in LIVE_STATUSES or terms.outstanding_at_registration > 0
    _require(owed or not command.issued_face, "issued_face", "0 when nothing is outstanding")
    if command.issued_face < 0:
        raise InvalidQuantity("the issued face can't be negative", field="issued_face")
    if command.issued_face > terms.original_principal:
        most = terms.original_principal
        raise RuleViolation("more face than principal", field="issued_face", rule="balance_coefficient", bound=most)


def _rulebook_of(state: State, command: RegisterLoan) -> str:
    return command.rulebook or state.account(command.terms.originator).default_rulebook or OPEN.name


def _issue(state: State, loan: Loan, face: Face, changes: Changes) -> None:
    """New face belongs to the originator, at a cost of par on what is outstanding."""
    terms = loan.terms
    originator = state.accounts[terms.originator]
    claim = originator.claims[terms.loan_id]
    claim.total += face
    claim.cost += principal_of(loan, face, PAR)
    lots.add(claim.lots, state.today, 0, face)
    loan.issued = Face(loan.issued + face)
    state.lending_of(loan).transferred += face
    loan.holders.add(originator.account_id)
    changes.loan(loan)
    changes.claim(originator, terms.loan_id)
    changes.post(
        EntryKind.ISSUANCE,
        terms.loan_id,
        Posting(originator.account_id, Unit.FACE, terms.loan_id, Leg.ISSUANCE, face),
        Posting(ISSUE, Unit.FACE, terms.loan_id, Leg.ISSUANCE, -face),
    )


def _repeat(before: bytes, now: bytes, field: str) -> Done:
    if before != now:
        raise DuplicateId(f"this {field} was used before with other content", field=field)
    return Done(duplicate=True)


def _require(holds: object, field: str, what: str) -> None:
    if not holds:
        raise InvalidArguments(f"{field} must be {what}", field=field)


def _digest(command: OpenAccount | Deposit | Withdraw | RegisterLoan) -> bytes:
    """Return a hash of a command's content. The reason is a remark, not content: a retry may word it anew."""
    return hashlib.blake2b(repr(replace(command, reason=None)).encode(), digest_size=16).digest()
