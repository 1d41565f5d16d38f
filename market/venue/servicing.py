"""Servicing of loans: what a servicer reports is judged to its end, then booked with cash, claims, orders and books.

A command's events are first applied to the loans on paper (claims/servicing.py), so that the last one can still refuse
them all. Cash goes to the holders of record at this place in the sequence; it comes in at the custodian's. The share of
unissued face is the originator's own business and is not posted here.
"""

import hashlib
from dataclasses import replace

from market.claims.distribution import distribute
from market.claims.loan import LIVE_STATUSES, LoanStatus
from market.claims.servicing import Outcome, ServicingEvent, ServicingType, Standing, service
from market.commands import ServiceLoan, ServicingAck
from market.errors import DuplicateId, InvalidArguments, MarketError
from market.events import Serviced
from market.ids import AccountId, Face, LoanId, Minor
from market.money import div_half_up
from market.orderbook.order import CancelReason, Order, OrderStatus, Side
from market.settlement.journal import CUSTODY, EntryKind, Leg, Posting, Unit
from market.venue.changes import Changes
from market.venue.lifecycle import by_age, end, end_all
from market.venue.review import review_all
from market.venue.state import Loan, State

PRINCIPAL_LEGS = {ServicingType.BUYBACK: Leg.BUYBACK, ServicingType.RECOVERY: Leg.RECOVERY}
PAID_OUT = frozenset({ServicingType.PAYMENT, ServicingType.RECOVERY})
AFTER_DEFAULT = frozenset({LoanStatus.DEFAULT, LoanStatus.WRITTEN_OFF})

Planned = tuple[ServicingEvent, bytes, Outcome]


def service_loan(state: State, command: ServiceLoan, changes: Changes) -> ServicingAck:
    if not command.events:
        raise InvalidArguments("there is no event in the list")
    duplicates, planned = _plan(state, command)
    for event, digest, outcome in planned:
        _book(state, event, digest, outcome, changes)
    return ServicingAck(duplicates=duplicates)


def _plan(state: State, command: ServiceLoan) -> tuple[tuple[bool, ...], list[Planned]]:
    """Judge every event where the ones before it leave the loan. A refusal names the event by its place (index)."""
    duplicates: list[bool] = []
    planned: list[Planned] = []
    digests: dict[str, bytes] = {}
    standings: dict[LoanId, Standing] = {}
    for index, event in enumerate(command.events):
        try:
            digest = hashlib.blake2b(repr(event).encode(), digest_size=16).digest()
            known = state.servicing.get(event.event_id)
            before = known.digest if known is not None else digests.get(event.event_id)
            if before not in (None, digest):
                raise DuplicateId("this event_id was used before with other content", field="event_id")
            duplicates.append(before is not None)
            if before is None:
                loan = state.loan(event.loan_id)
                standing = standings.get(event.loan_id) or loan.standing
                rules = loan.rulebook
                outcome = service(loan.terms, standing, event, today=state.today, grace_days=rules.grace_days)
                standings[event.loan_id], digests[event.event_id] = outcome.after, digest
                planned.append((event, digest, outcome))
        except MarketError as refusal:
            if len(command.events) > 1:
                refusal.details |= {"event_id": event.event_id, "index": str(index)}
            raise
    return tuple(duplicates), planned


def _book(state: State, event: ServicingEvent, digest: bytes, outcome: Outcome, changes: Changes) -> None:
    loan, after = state.loans[event.loan_id], outcome.after
    distributed = _pay_holders(state, loan, event, outcome, changes)
    if event.type is ServicingType.WRITE_OFF:
        _realise_loss(state, loan, changes)
    loan.status, loan.outstanding, loan.schedule = after.status, after.outstanding, after.schedule
    loan.terms = replace(loan.terms, never_late=after.never_late)
    loan.is_serviced, loan.day = True, None
    changes.loan(loan)
    booked = Serviced(
        event_id=event.event_id,
        loan_id=event.loan_id,
        type=event.type,
        value_date=event.value_date,
        currency=loan.terms.currency,
        interest=outcome.interest,
        principal=outcome.principal,
        costs=outcome.costs,
        capitalised=outcome.capitalised,
        distributed=distributed,
        outstanding=after.outstanding,
        status=after.status,
        digest=digest,
    )
    state.servicing[event.event_id] = booked
    changes.facts.append(booked)
    _review_orders(state, loan, event.type, changes)


def _pay_holders(state: State, loan: Loan, event: ServicingEvent, outcome: Outcome, changes: Changes) -> Minor:
    """Distribute leg by leg and return the cash that came in for it.

    A claim's cost leaves with the part of its principal that is repaid, half up; what that brought is realised.
    """
    loan_id, currency = loan.terms.loan_id, loan.terms.currency
    holdings = {
        account_id: Face(face)
        for account_id in loan.holders
        if (face := state.accounts[account_id].claims[loan_id].total)
    }
    unissued = Face(loan.terms.original_principal - loan.issued)
    postings: list[Posting] = []
    received: dict[AccountId, int] = dict.fromkeys(sorted(holdings), 0)
    legs = (outcome.interest, Leg.INTEREST), (outcome.principal, PRINCIPAL_LEGS.get(event.type, Leg.REPAYMENT))
    for amount, leg in legs:
        parts = distribute(amount, holdings, unissued=unissued)
        for account_id, part in parts.items():
            postings.append(Posting(account_id, Unit.CASH, currency, leg, part))
            received[account_id] += part
        postings.append(Posting(CUSTODY, Unit.CASH, currency, leg, -sum(parts.values())))
        if leg is not Leg.INTEREST and amount:
            for account_id, part in parts.items():
                claim = state.accounts[account_id].claims[loan_id]
                cost = div_half_up(claim.cost * amount, loan.outstanding)
                claim.cost -= cost
                claim.realised += part - cost
                changes.claim(state.accounts[account_id], loan_id)
    for account_id, cash in received.items():
        if cash:
            account = state.accounts[account_id]
            account.cash[currency].total += cash
            changes.cash(account, currency)
    distributed = sum(received.values())
    state.custody_totals[currency] += distributed
    if distributed:
        changes.post(EntryKind.SERVICING, event.event_id, *postings)
    return Minor(distributed)


def _realise_loss(state: State, loan: Loan, changes: Changes) -> None:
    """What the claims cost is lost: a later recovery is all gain. The claims themselves stay with their holders."""
    loan_id = loan.terms.loan_id
    for account_id in sorted(loan.holders):
        account = state.accounts[account_id]
        claim = account.claims[loan_id]
        if claim.cost:
            claim.realised -= claim.cost
            claim.cost = 0
            changes.claim(account, loan_id)


def _review_orders(state: State, loan: Loan, kind: ServicingType, changes: Changes) -> None:
    """End what can't stay or did not want to, and recompute what the others hold. Quantities stay: original face."""
    orders = sorted([*loan.book.orders(Side.BUY), *loan.book.orders(Side.SELL)], key=by_age)
    is_default = kind is ServicingType.DEFAULT  # nobody who bid for a paying loan meant this one
    if is_default or loan.status not in LIVE_STATUSES:
        defaulted = loan.status in AFTER_DEFAULT
        reason = CancelReason.LOAN_DEFAULTED if defaulted else CancelReason.LOAN_REPAID
        end_all(state, orders, OrderStatus.CANCELED, reason, changes)
        return
    for order in orders:
        unwanted = _unwanted(order, kind)
        if unwanted is not None:
            end(state, order, OrderStatus.CANCELED, unwanted, changes)
    review_all(state, [order for order in orders if order.order_id in state.orders], changes)


def _unwanted(order: Order, kind: ServicingType) -> CancelReason | None:
    """Return why its owner does not want the order to outlive this event, None if he does."""
    if kind in PAID_OUT and order.cancel_on_payment:
        return CancelReason.PAYMENT
    if kind is ServicingType.RESCHEDULE and order.cancel_on_reschedule:
        return CancelReason.RESCHEDULE
    return None
