"""The methods of a market-maker's quotes: mass_quote, quote_cancel, set_mmp, reset_mmp.

What is malformed refuses the whole frame, by the field's name; what the venue refuses is the matter of one side.
"""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from gateway.access.rates import Bucket
from gateway.errors import answer_of, ws_error
from gateway.requests.access import Scope
from gateway.requests.fields import Name, Price, Quantity, of_text_once, to_quantity
from gateway.requests.fields import Request as Params
from gateway.wire import exact_decimal, minor_or_none
from gateway.ws.session import Request, Session
from market.commands import (
    QUOTES_MAX,
    CancelQuotes,
    Command,
    CountAck,
    MassQuote,
    Quote,
    QuoteAck,
    QuoteOutcome,
    Refusal,
    ResetMmp,
    Result,
    SetMmp,
)
from market.errors import InvalidArguments, InvariantViolation, MarketError, UnknownLoan
from market.ids import AccountId, Face, LoanId
from market.port import Answer

QUOTES_PER_ORDER = 10  # that cost as much as one order
WINDOW_MS_MAX = 3_600_000
MILLISECOND = 1_000_000  # in nanoseconds

Token = Annotated[str, Field(max_length=512)]


@of_text_once
def _quoted_quantity(value: object) -> Face:
    """As any quantity; but 0 withdraws a side, so what is no quantity is less than that, for the venue to refuse."""
    units = to_quantity(value)
    return units if units or not exact_decimal(value) else Face(-1)


QuotedQuantity = Annotated[Face, PlainValidator(_quoted_quantity)]


class QuoteParams(Params):
    """A side is what it is quoted at, and for how much; without both, or for 0, it is withdrawn."""

    symbol: Name
    bid: Price | None = None
    bid_qty: QuotedQuantity | None = None
    ask: Price | None = None
    ask_qty: QuotedQuantity | None = None


class MassQuoteParams(Params):
    quotes: Annotated[list[QuoteParams], Field(min_length=1, max_length=QUOTES_MAX)]
    quote_set: Name = "default"
    mmp_group: Name | None = None
    token: Token | None = None


class QuoteCancelParams(Params):
    """All filters given must match; none means all quotes."""

    symbol: Annotated[list[Name], Field(min_length=1, max_length=1_000)] | Name | None = None
    quote_set: Name | None = None
    token: Token | None = None


class SetMmpParams(Params):
    """max_fills, max_face: at least one of them."""

    group: Name
    max_fills: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_face: Quantity | None = None
    window_ms: Annotated[int, Field(ge=1, le=WINDOW_MS_MAX)]
    token: Token | None = None

    def to_command(self, account_id: AccountId) -> SetMmp:
        return SetMmp(
            account_id=account_id,
            group=self.group,
            max_fills=self.max_fills,
            max_face=self.max_face,
            window=self.window_ms * MILLISECOND,
        )


class ResetMmpParams(Params):
    group: Name
    token: Token | None = None


async def mass_quote(session: Session, request: Request) -> None:
    """One reply for the frame: of each side `ok`, its error's text, or null where nothing is quoted."""
    asked = MassQuoteParams.parse(request.params)
    cost = -(-len(asked.quotes) // QUOTES_PER_ORDER)
    who = session.payer(request, asked.token, Scope.TRADE, Bucket.ORDERS, cost)
    views = session.gate.views

    def loan_of(symbol: str) -> LoanId:
        """Return the symbol's loan. One that names none stays whole: the venue refuses that quote alone."""
        try:
            return views.loan_of_symbol(symbol).loan_id
        except UnknownLoan:
            return LoanId(symbol)

    command = MassQuote(
        account_id=who.account_id,
        quote_set=asked.quote_set,
        quotes=tuple(_quote(i, quote, loan_of) for i, quote in enumerate(asked.quotes)),
        connection=session.connection_id,
        session=session.name,
        mmp_group=asked.mmp_group,
    )

    def result_of(result: Result) -> dict[str, Any]:
        if not isinstance(result, QuoteAck):
            raise InvariantViolation(f"a mass quote was answered with {result}")
        rows = [_row(quote.symbol, outcome) for quote, outcome in zip(asked.quotes, result.quotes, strict=True)]
        return {"quote_set": asked.quote_set, "accepted": result.accepted, "quotes": rows}

    session.quoted_for[who.account_id] = who
    _send(session, request, who.key, command, result_of)


async def quote_cancel(session: Session, request: Request) -> None:
    asked = QuoteCancelParams.parse(request.params)
    who = session.payer(request, asked.token, Scope.TRADE, Bucket.CANCELS, 0)
    symbols = [asked.symbol] if isinstance(asked.symbol, str) else asked.symbol
    loan_ids = None
    if symbols is not None:
        loan_ids = tuple(session.gate.views.loan_of_symbol(symbol).loan_id for symbol in symbols)
    command = CancelQuotes(account_id=who.account_id, loan_ids=loan_ids, quote_set=asked.quote_set)

    def result_of(result: Result) -> dict[str, Any]:
        if not isinstance(result, CountAck):
            raise InvariantViolation(f"quote_cancel was answered with {result}")
        return {"count": result.quotes, "quotes": result.quotes}

    _send(session, request, who.key, command, result_of)


async def set_mmp(session: Session, request: Request) -> None:
    asked = SetMmpParams.parse(request.params)
    who = session.payer(request, asked.token, Scope.TRADE, Bucket.AMENDS)
    told = {
        "group": asked.group,
        "max_fills": asked.max_fills,
        "max_face": minor_or_none(asked.max_face),
        "window_ms": asked.window_ms,
    }
    _send(session, request, who.key, asked.to_command(who.account_id), lambda _: told)


async def reset_mmp(session: Session, request: Request) -> None:
    asked = ResetMmpParams.parse(request.params)
    who = session.payer(request, asked.token, Scope.TRADE, Bucket.AMENDS)
    _send(
        session,
        request,
        who.key,
        ResetMmp(account_id=who.account_id, group=asked.group),
        lambda _: {"group": asked.group},
    )


def _quote(i: int, asked: QuoteParams, loan_of: Callable[[str], LoanId]) -> Quote:
    """Raises InvalidArguments for a side that has a price or a quantity alone."""
    for name, price, quantity in (("bid", asked.bid, asked.bid_qty), ("ask", asked.ask, asked.ask_qty)):
        if quantity is None and price is not None:
            raise InvalidArguments(f"quotes.{i}.{name}_qty: missing", field=f"quotes.{i}.{name}_qty")
        if price is None and quantity:
            raise InvalidArguments(f"quotes.{i}.{name}: missing", field=f"quotes.{i}.{name}")
    return Quote(loan_of(asked.symbol), asked.bid, asked.bid_qty or Face(0), asked.ask, asked.ask_qty or Face(0))


def _row(symbol: str, outcome: QuoteOutcome) -> dict[str, Any]:
    row: dict[str, Any] = {"symbol": symbol, "bid": "ok", "ask": "ok"}
    for name, side in zip(("bid", "ask"), outcome, strict=True):
        if side is None:
            row[name] = None
        elif isinstance(side, Refusal):
            row[name], row[f"{name}_detail"] = ws_error(side.to_error())
    return row


def _send(
    session: Session, request: Request, actor: str, command: Command, result_of: Callable[[Result], dict[str, Any]]
) -> None:
    gate = session.gate

    def told(answer: Answer | MarketError) -> None:
        if isinstance(answer, MarketError):
            gate.metrics.count_order(answer_of(answer).code)
            session.refuse(request, answer)
        else:
            gate.metrics.count_order("accepted")
            session.reply(request, result_of(answer.result))

    gate.engine.send(command, actor=actor, reply=told)
