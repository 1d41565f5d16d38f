"""What an account has: balances, positions, performance, cash flows, statement."""

from typing import Literal

from pydantic import BaseModel

from gateway.answers.fields import Count, DayText, Moment, Money, MoneyWeighted, TradeIdOut, Ytm
from gateway.reads.statements import StatementLeg
from market.settlement.journal import EntryKind, Unit


class CashBalance(BaseModel):
    currency: str
    total: Money
    available: Money
    held: Money


class ClaimBalance(BaseModel):
    loan_id: str
    total: Money
    available: Money
    held: Money
    current_face: Money


class Balances(BaseModel):
    cash: list[CashBalance]
    claims: list[ClaimBalance]


class LotOut(BaseModel):
    """transfers: how often this part of a claim has been assigned."""

    acquired: DayText
    transfers: Count
    face: Money


class Position(BaseModel):
    """market_price: the last one, else the best bid, null once the loan ended: then it is worth nothing.

    realised: clean result of what was sold, repaid or written off.  unrealised: market value less cost, both clean.
    sellable: what the rulebook lets be sold now of the lots, less what open sells hold.
    """

    loan_id: str
    symbol: str
    currency: str
    total: Money
    available: Money
    held: Money
    sellable: Money
    lots: list[LotOut]
    current_face: Money
    cost: Money
    cost_price: Money | None
    market_price: Money | None
    market_value: Money | None
    accrued: Money
    ytm: Ytm | None
    realised: Money
    unrealised: Money | None
    xirr: MoneyWeighted | None


class Performance(BaseModel):
    """The result of all claims that the account ever had in a currency (docs/statements.md).

    claims: held now.  unpriced: those of them without a market price, taken at what they cost.
    paid_in, paid_out: for claims and from them, with accrued interest and fees.  interest: received less accrued paid.
    result: realised + unrealised + interest + accrued - fees.
    """

    currency: str
    business_date: DayText
    claims: Count
    unpriced: Count
    cost: Money
    market_value: Money
    accrued: Money
    paid_in: Money
    paid_out: Money
    realised: Money
    unrealised: Money
    interest: Money
    fees: Money
    result: Money
    xirr: MoneyWeighted | None


class CashflowTotal(BaseModel):
    """What is expected on a date in a currency, of all claims together."""

    due_date: DayText
    interest: Money
    principal: Money
    amount: Money
    currency: str


class CashflowOut(CashflowTotal):
    """A claim's share of one instalment. n: its number in the loan."""

    loan_id: str
    n: Count
    status: Literal["due", "late", "future"]


class StatementRow(BaseModel):
    """One leg. amount: signed from the account's view; cash rows sum to the balance, face rows to the position.

    principal: of a trade, at par (the current face); discount or premium: what the price made of it.
    business_date: of the market when it was booked.  reference: the trade's number, event id or custody reference.
    """

    row_id: str
    timestamp: Moment
    business_date: DayText
    engine_seq: Count
    kind: EntryKind
    reference: str
    trade_id: TradeIdOut | None
    event_id: str | None
    loan_id: str | None
    leg: StatementLeg
    unit: Unit
    amount: Money
    currency: str
