"""What is answered: objects and rows rendered from facts and views. One shape per thing, everywhere.

Amounts, prices and quantities are strings with two decimals, yields with six, the factor with eight.
Left out: requests (requests/), public market data (ws/rows.py), the envelopes of either protocol.
"""

from datetime import date
from typing import Any

from gateway.reads.history import StoredServicing
from gateway.reads.loan_view import PAR, LoanView
from gateway.reads.results import Holding
from gateway.reads.views import AccountView, Views
from gateway.wire import (
    factor_text,
    minor_or_none,
    minor_text,
    order_id_text,
    ppm_or_none,
    ppm_text,
    rate_text,
    time_or_none,
    time_text,
    trade_id_text,
    yield_text,
)
from gateway.ws.rows import best_row, level_rows
from market.claims.accrual import share
from market.claims.schedule import Instalment
from market.commands import OrderPriced
from market.events import CashChanged, ClaimChanged, ExecutionRow, Fill, OrderState, Traded
from market.ids import AccountId, Face, Minor, PriceBp
from market.money import div_half_up
from market.orderbook.depth import Depth
from market.orderbook.order import FINAL_STATUSES, OrderType, Side
from market.venue.lots import eligible_face
from market.venue.rulebook import FeeRule, Rulebook

Row = dict[str, Any]

# Orders and fills


def execution_row(row: ExecutionRow, *, engine_seq: int, at: int) -> Row:
    """Return one row of an account's stream. at: time of the command that made it."""
    shown: Row = {
        "exec_id": row.exec_id,
        "exec_type": row.exec_type,
        **_order_fields(row.order),
        "engine_seq": engine_seq,
        "timestamp": time_text(at),
    }
    return shown if row.fill is None else shown | _fill_fields(row.fill, row.order.currency)


def order_object(order: OrderState, *, engine_seq: int, updated_at: int) -> Row:
    """Return an order as it is after its last change: that change's execution row, the order's own words, its times."""
    last = ExecutionRow(exec_id=order.exec_id, exec_type=order.exec_type, order=order)
    return {
        **execution_row(last, engine_seq=engine_seq, at=updated_at),
        "loan_id": order.loan_id,
        "currency": order.currency,
        "post_only": order.post_only,
        "min_qty": minor_or_none(order.min_quantity),
        "display_qty": minor_or_none(order.display_quantity),
        "stp_type": order.stp,
        "expire_time": time_or_none(order.expire_at),
        "cancel_on_disconnect": order.cancel_on_disconnect,
        "cancel_on_payment": order.cancel_on_payment,
        "cancel_on_reschedule": order.cancel_on_reschedule,
        "session": order.session,
        "tag": order.tag,
        "held": minor_text(order.hold),
        "created_at": time_text(order.created_at),
        "updated_at": time_text(updated_at),
    }


def priced_row(priced: OrderPriced) -> Row:
    """Return what an order would do if it were placed now; `leaves_qty` is what would be left of it."""
    return {
        "valid": True,
        "cl_ord_id": priced.client_order_id,
        "limit_price": minor_text(priced.price),
        "order_qty": minor_text(priced.quantity),
        "cum_qty": minor_text(priced.filled),
        "leaves_qty": minor_text(priced.quantity - priced.filled),
        "avg_price": minor_text(div_half_up(priced.turnover, priced.filled)) if priced.filled else None,
        "principal": minor_text(priced.principal),
        "accrued": minor_text(priced.accrued),
        "dirty": minor_text(priced.principal + priced.accrued),
        "fee": minor_text(priced.fee),
    }


def _order_fields(order: OrderState) -> Row:
    fields: Row = {
        "order_id": order_id_text(order.order_id),
        "cl_ord_id": order.client_order_id,
        "order_status": order.status,
        "symbol": f"{order.loan_id}/{order.currency}",
        "side": order.side,
        "order_type": order.order_type,
        "time_in_force": order.time_in_force,
        "order_qty": minor_text(order.quantity),
        "limit_price": None if order.order_type is OrderType.MARKET else minor_text(order.price),
        "cum_qty": minor_text(order.filled),
        "cum_cost": minor_text(order.cum_cost),
        "leaves_qty": minor_text(0 if order.status in FINAL_STATUSES else order.leaves),
        "avg_price": minor_text(div_half_up(order.turnover, order.filled)) if order.filled else None,
        "version": order.version,
    }
    if order.limit_yield_ppm is not None:
        fields |= {"limit_yield": ppm_text(order.limit_yield_ppm), "peg": "yield" if order.pegged else None}
    if order.cancel_reason is not None:
        fields["cancel_reason"] = order.cancel_reason
    return fields


def _fill_fields(fill: Fill, currency: str) -> Row:
    return {
        "trade_id": trade_id_text(fill.trade_id),
        "last_qty": minor_text(fill.quantity),
        "last_price": minor_text(fill.price),
        "principal": minor_text(fill.principal),
        "accrued": minor_text(fill.accrued),
        "dirty": minor_text(fill.principal + fill.accrued),
        "fee": minor_text(fill.fee),
        "currency": currency,
        "ytm": ppm_or_none(fill.ytm_ppm),
        "liquidity_ind": "m" if fill.is_maker else "t",
        "cost": minor_text(fill.principal),  # principal and fee once more, under the names that existing clients read
        "fees": [{"asset": currency, "qty": minor_text(fill.fee)}],
    }


def own_trade(trade: Traded, account_id: AccountId, *, engine_seq: int, at: int) -> Row:
    """Return a trade as one of its two sides sees it; who the other was stays unsaid."""
    side = Side.BUY if trade.buyer == account_id else Side.SELL
    is_buyer = side is Side.BUY
    return {
        "trade_id": trade_id_text(trade.trade_id),
        "order_id": order_id_text(trade.buy_order_id if is_buyer else trade.sell_order_id),
        "symbol": f"{trade.loan_id}/{trade.currency}",
        "loan_id": trade.loan_id,
        "side": side,
        "price": minor_text(trade.price),
        "qty": minor_text(trade.quantity),
        "current_face": minor_text(trade.current_face),
        "principal": minor_text(trade.principal),
        "accrued": minor_text(trade.accrued),
        "dirty": minor_text(trade.principal + trade.accrued),
        "fee": minor_text(trade.buyer_fee if is_buyer else trade.seller_fee),
        "currency": trade.currency,
        "ytm": ppm_or_none(trade.ytm_ppm),
        "liquidity_ind": "t" if trade.taker_side is side else "m",
        "business_date": trade.business_date.isoformat(),
        "engine_seq": engine_seq,
        "timestamp": time_text(at),
    }


# Loans


def loan_object(loan: LoanView) -> Row:
    """Return a loan's terms, its state, its history and the rules it trades by. Prices are in `board_item`."""
    terms, state, due = loan.state.terms, loan.state, loan.next_due
    return {
        "loan_id": terms.loan_id,
        "symbol": loan.symbol,
        "originator": terms.originator,
        "currency": terms.currency,
        "original_principal": minor_text(terms.original_principal),
        "outstanding_principal": minor_text(state.outstanding),
        "issued_face": minor_text(state.issued),
        "factor": factor_text(state.outstanding, terms.original_principal),
        "annual_rate": rate_text(terms.annual_rate_ppm),
        "repayment_method": terms.repayment_method,
        "term_months": terms.term_months,
        "months_per_period": terms.months_per_period,
        "issue_date": terms.issue_date.isoformat(),
        "first_due_date": terms.first_due_date.isoformat(),
        "maturity_date": loan.schedule.rows[-1].due_date.isoformat(),
        "remaining_months": remaining_months(loan),
        "day_count": terms.day_count,
        "grade": terms.grade,
        "claim_type": terms.claim_type,
        "guarantee": {
            "kind": terms.guarantee.kind,
            "name": terms.guarantee.name,
            "trigger_days": terms.guarantee.trigger_days,
            "coverage": terms.guarantee.coverage,
        },
        "borrower_ref": terms.borrower_ref,
        "purpose": terms.purpose,
        "region": terms.region,
        "documents": [{"name": each.name, "sha256": each.sha256} for each in terms.documents],
        "transferable": terms.transferable,
        "status": state.status,
        "halted": state.halt_reason is not None,
        "halt_reason": state.halt_reason,
        "next_due": None if due is None else {"n": due.n, "date": due.due_date.isoformat(), **_due_amounts(due)},
        "history": {
            "never_late": terms.never_late,
            "instalments_paid": state.paid,
            "instalments": len(loan.schedule.rows),
        },
        "rulebook": rulebook_object(state.rulebook, transferable=terms.transferable),
    }


def board_item(loan: LoanView, on: date) -> Row:
    """Return a loan with its prices and what they yield. on: the business date.

    accrued: interest that a buyer of the whole loan would pay on that day.
    ytm_conservative: of buying at the best ask, if all that is overdue is never paid.
    """
    ask = loan.best_ask
    return {
        **loan_object(loan),
        "accrued": minor_text(accrued_of(loan, on, Face(loan.state.terms.original_principal))),
        **best_row(loan),
        "ytm_bid": _ytm(loan, loan.best_bid),
        "ytm_ask": _ytm(loan, loan.best_ask),
        "ytm_conservative": None if ask is None else yield_text(loan.ytm_conservative_at(ask[0])),
        "last": minor_or_none(loan.last_price),
        "ytm_last": None if loan.last_price is None else yield_text(loan.ytm_at(loan.last_price)),
    }


def remaining_months(loan: LoanView) -> int:
    """Return months from now to the last due date, counted in instalments."""
    schedule = loan.schedule
    return (len(schedule.rows) - schedule.paid) * loan.state.terms.months_per_period


def accrued_of(loan: LoanView, on: date, quantity: Face) -> Minor:
    return share(loan.accrued(on), quantity=quantity, original_principal=loan.state.terms.original_principal)


def _ytm(loan: LoanView, level: tuple[PriceBp, Face] | None) -> str | None:
    return None if level is None else yield_text(loan.ytm_at(level[0]))


def _due_amounts(due: Instalment) -> Row:
    return {
        "payment": minor_text(due.payment),
        "interest": minor_text(due.interest),
        "principal": minor_text(due.principal),
    }


def rulebook_object(rules: Rulebook, *, transferable: bool = True) -> Row:
    """Return the rules in the contract's words. transferable: as a loan's own terms say."""
    return {
        "name": rules.name,
        "tick": minor_text(rules.tick),
        "lot": minor_text(rules.lot),
        "min_face": minor_text(rules.min_face),
        "min_consideration": minor_text(rules.min_consideration),
        "price_min": minor_text(rules.price_min),
        "price_max": minor_text(rules.price_max),
        "collar_pct": minor_text(rules.collar_bp),
        "premium_allowed": rules.premium_allowed,
        "max_discount_pct": minor_or_none(rules.max_discount_bp),
        "yield_floor": None if rules.yield_floor_ppm is None else rate_text(rules.yield_floor_ppm),
        "grace_days": rules.grace_days,
        "min_holding_days": rules.min_holding_days,
        "blackout_days": rules.blackout_days,
        "max_transfers": rules.max_transfers,
        "order_life_hours": rules.order_life_hours,
        "tradable_statuses": sorted(rules.tradable_statuses),
        "transferable": transferable and rules.transferable,
        "fees": {"buyer": fee_object(rules.buyer_fee), "seller": fee_object(rules.seller_fee)},
        "limits": {
            "per_loan": minor_or_none(rules.limits.per_loan),
            "per_borrower": minor_or_none(rules.limits.per_borrower),
            "per_grade_pct": minor_or_none(rules.limits.per_grade_bp),
        },
        "suitability": dict(rules.suitability) or None,
        "max_open_orders": rules.max_open_orders,
    }


def fee_object(fee: FeeRule) -> Row:
    return {"rate": rate_text(fee.rate_ppm), "min": minor_text(fee.minimum), "cap": minor_or_none(fee.cap)}


def schedule_rows(loan: LoanView, on: date) -> list[Row]:
    """Return every instalment with what became of it. on: the business date.

    Amounts of an open row are what it still owes. received: what was paid of it, null if nothing was or before us.
    """
    schedule = loan.schedule
    return [
        {
            "n": row.n,
            "due_date": row.due_date.isoformat(),
            **_due_amounts(row),
            "balance": minor_text(row.balance),
            "status": instalment_status(row, on, is_paid=i < schedule.paid, is_next=i == schedule.paid),
            "paid_date": row.received.on.isoformat() if i < schedule.paid and row.received else None,
            "received": None if row.received is None else minor_text(row.received.interest + row.received.principal),
        }
        for i, row in enumerate(schedule.rows)
    ]


def payment_row(stored: StoredServicing, original_principal: Minor) -> Row:
    """Return a servicing event as it was booked; amounts are of the whole loan."""
    event = stored.event
    return {
        "event_id": event.event_id,
        "loan_id": event.loan_id,
        "type": event.type,
        "value_date": event.value_date.isoformat(),
        "amount": minor_text(event.interest + event.principal + event.costs),
        "interest": minor_text(event.interest),
        "principal": minor_text(event.principal),
        "costs": minor_text(event.costs),
        "capitalised": minor_text(event.capitalised),
        "distributed": minor_text(event.distributed),
        "currency": event.currency,
        "outstanding_principal": minor_text(event.outstanding),
        "factor": factor_text(event.outstanding, original_principal),
        "loan_status": event.status,
        "engine_seq": stored.engine_seq,
        "timestamp": time_text(stored.at),
    }


def instalment_status(row: Instalment, on: date, *, is_paid: bool, is_next: bool) -> str:
    if is_paid:
        return "paid"
    if row.due_date < on:
        return "late"
    return "due" if is_next or row.due_date == on else "future"


def book_object(views: Views, loan: LoanView, depth: Depth, now: int) -> Row:
    return {
        "symbol": loan.symbol,
        "loan_id": loan.loan_id,
        "epoch": views.epoch_of(loan),
        "seq": depth.seq,
        "bids": level_rows(depth.bids),
        "asks": level_rows(depth.asks),
        "checksum": depth.checksum,
        "digest": depth.digest,
        "timestamp": time_text(now),
    }


# Accounts


def account_object(account: AccountView) -> Row:
    state = account.state
    return {
        "account_id": state.account_id,
        "kind": state.kind,
        "name": state.name,
        "owner_group": state.owner_group,
        "risk_class": state.risk_class,
        "default_rulebook": state.default_rulebook,
        "frozen": state.frozen,
        "blocked": state.blocked,
        "open_orders": len(account.open_orders),
        "last_exec_seq": account.exec_seq,
    }


def balances_object(views: Views, account: AccountView) -> Row:
    return {
        "cash": [{"currency": cash.currency, **_amounts(cash)} for _, cash in sorted(account.cash.items())],
        "claims": [
            {
                "loan_id": loan_id,
                **_amounts(claim),
                "current_face": minor_text(_current_face(views.loans[loan_id], claim.total)),
            }
            for loan_id, claim in sorted(account.claims.items())
        ],
    }


def position_row(loan: LoanView, held: Holding, on: date) -> Row:
    """Return a holding with what it cost and what it is worth at the last price, else at the best bid.

    cost_price: what is held cost, in percent of its current face.  unrealised: market value less cost, both clean.
    sellable: what the lots and other sells leave for another sell order today.
    """
    claim, value = held.claim, held.market_value
    eligible = eligible_face(claim.lots, loan.state.rulebook, on)
    face = _current_face(loan, claim.total)
    return {
        "loan_id": claim.loan_id,
        "symbol": loan.symbol,
        "currency": loan.state.terms.currency,
        **_amounts(claim),
        "sellable": minor_text(eligible - claim.held),
        "lots": [
            {"acquired": lot.acquired.isoformat(), "transfers": lot.transfers, "face": minor_text(lot.face)}
            for lot in claim.lots
        ],
        "current_face": minor_text(face),
        "cost": minor_text(claim.cost),
        "cost_price": minor_text(div_half_up(claim.cost * PAR, face)) if face else None,
        "market_price": minor_or_none(held.price),
        "market_value": minor_or_none(value),
        "accrued": minor_text(held.accrued(on)),
        "ytm": None if held.price is None else yield_text(loan.ytm_at(held.price)),
        "realised": minor_text(claim.realised),
        "unrealised": None if value is None else minor_text(value - claim.cost),
    }


def _amounts(balance: CashChanged | ClaimChanged) -> Row:
    return {
        "total": minor_text(balance.total),
        "available": minor_text(balance.total - balance.held),
        "held": minor_text(balance.held),
    }


def _current_face(loan: LoanView, quantity: Face) -> int:
    return div_half_up(quantity * loan.state.outstanding, loan.state.terms.original_principal)
