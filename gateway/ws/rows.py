"""What the public streams show, row by row, in the wire's words. Figures that do not exist are null."""

from collections.abc import Sequence
from typing import Any

from gateway.reads.loan_view import LoanView
from gateway.reads.views import AccountView, Views
from gateway.wire import (
    factor_text,
    minor_or_none,
    minor_text,
    order_id_text,
    ppm_text,
    time_text,
    trade_id_text,
    yield_text,
)
from market.claims.accrual import share
from market.commands import Mode
from market.events import CashChanged, ClaimChanged, QuoteState, Traded
from market.ids import Face, Nanos, PriceBp

Row = dict[str, Any]
API_VERSION = "v2"

# What `system` says of a mode, in the words of the protocol family.
SYSTEM = {
    Mode.OPEN: "online",
    Mode.CANCEL_ONLY: "cancel_only",
    Mode.POST_ONLY: "post_only",
    Mode.HALTED: "maintenance",
}


def status_row(views: Views, now: int) -> Row:
    row = {
        "system": SYSTEM[views.mode],
        "mode": views.mode,
        "api_version": API_VERSION,
        "epoch": views.epoch,
        "engine_seq": views.engine_seq,
        "business_date": views.business_date.isoformat(),
        "server_time": time_text(now),
    }
    if views.partitions > 1:
        row["partitions"] = [
            {"partition": partition, "epoch": epoch, "engine_seq": views.seqs[partition]}
            for partition, epoch in sorted(views.epochs.items())
        ]
    return row


def level_rows(levels: Sequence[tuple[PriceBp, Face]]) -> list[Row]:
    return [{"price": minor_text(price), "qty": minor_text(quantity)} for price, quantity in levels]


def best_row(loan: LoanView) -> Row:
    bid, ask = loan.best_bid, loan.best_ask
    return {
        "bid": minor_text(bid[0]) if bid else None,
        "bid_qty": minor_text(bid[1]) if bid else None,
        "ask": minor_text(ask[0]) if ask else None,
        "ask_qty": minor_text(ask[1]) if ask else None,
    }


def ticker_row(views: Views, loan: LoanView, now: Nanos) -> Row:
    """accrued: interest that a buyer of the whole loan would pay today.  ytm_*: of buying at that price today."""
    bid, ask, last, day = loan.best_bid, loan.best_ask, loan.last_price, loan.day(now)
    terms = loan.state.terms
    accrued = share(
        loan.accrued(views.business_date),
        quantity=Face(terms.original_principal),
        original_principal=terms.original_principal,
    )
    return {
        "symbol": loan.symbol,
        **best_row(loan),
        "last": minor_or_none(last),
        "volume": minor_text(day.volume),
        "vwap": minor_or_none(day.vwap),
        "low": minor_or_none(day.low),
        "high": minor_or_none(day.high),
        "change": minor_or_none(day.change),
        "change_pct": minor_or_none(day.change_pct_bp),
        "ytm_bid": yield_text(loan.ytm_at(bid[0])) if bid else None,
        "ytm_ask": yield_text(loan.ytm_at(ask[0])) if ask else None,
        "ytm_last": yield_text(loan.ytm_at(last)) if last is not None else None,
        "accrued": minor_text(accrued),
        "factor": factor_text(loan.state.outstanding, terms.original_principal),
        "timestamp": time_text(now),
    }


def trade_row(trade: Traded, at: Nanos) -> Row:
    return {
        "symbol": f"{trade.loan_id}/{trade.currency}",
        "side": trade.taker_side,
        "price": minor_text(trade.price),
        "qty": minor_text(trade.quantity),
        "ord_type": trade.taker_order_type,
        "trade_id": trade_id_text(trade.trade_id),
        "accrued": minor_text(trade.accrued),
        "ytm": None if trade.ytm_ppm is None else ppm_text(trade.ytm_ppm),
        "timestamp": time_text(at),
    }


def balance_rows(account: AccountView, assets: set[str] | None = None) -> list[Row]:
    """Return cash by currency, then claims by loan; of `assets` only, if given."""
    if assets is None:
        return [_balance_row(c.currency, c) for c in account.cash.values()] + [
            _balance_row(c.loan_id, c) for c in account.claims.values()
        ]
    cash = [account.cash[currency] for currency in sorted(account.cash.keys() & assets)]
    claims = [account.claims[loan_id] for loan_id in sorted(account.claims.keys() & assets)]
    return [_balance_row(c.currency, c) for c in cash] + [_balance_row(c.loan_id, c) for c in claims]


def quote_row(quote: QuoteState, at: int) -> Row:
    """One side of a quote. qty: what is still open of it.  reason: why it is gone, null while it stands."""
    return {
        "symbol": f"{quote.loan_id}/{quote.currency}",
        "quote_set": quote.quote.quote_set,
        "side": quote.side,
        "order_id": order_id_text(quote.order_id),
        "price": minor_text(quote.price),
        "qty": minor_text(quote.leaves),
        "cum_qty": minor_text(quote.filled),
        "status": quote.status,
        "reason": quote.cancel_reason,
        "mmp_group": quote.quote.mmp_group,
        "timestamp": time_text(at),
    }


def _balance_row(asset: str, balance: CashChanged | ClaimChanged) -> Row:
    return {
        "asset": asset,
        "balance": minor_text(balance.total),
        "available": minor_text(balance.total - balance.held),
        "held": minor_text(balance.held),
    }
