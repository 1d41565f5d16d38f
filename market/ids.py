"""Identifiers and units: one NewType each, so that mypy keeps a price from meeting a quantity unseen."""

from typing import NewType

AccountId = NewType("AccountId", str)
LoanId = NewType("LoanId", str)
ClientOrderId = NewType("ClientOrderId", str)
OrderId = NewType("OrderId", int)  # the sequence number of the command that placed the order; "O-190233" on the wire
FIRST_QUOTE_ID = OrderId(1 << 62)  # from here on they are of quotes, many of one command; "Q-17" is the 17th from here
TradeId = NewType("TradeId", int)  # 1, 2, 3, ... in order of execution; "T-17" on the wire
Seq = NewType("Seq", int)  # position of a command in the log: 1, 2, 3, ... without a gap
Currency = NewType("Currency", str)  # ISO 4217

Minor = NewType("Minor", int)  # money in minor units (fen, cents): 0.01 of a currency
Face = NewType(
    "Face", int
)  # original face of a claim, in minor units of the loan's currency; repayments never change it
PriceBp = NewType(
    "PriceBp", int
)  # clean price per current face in basis points of par: 10_000 is par, 9_725 is 97.25 %
Nanos = NewType("Nanos", int)  # nanoseconds since 1970-01-01T00:00:00Z
