"""The values that answers are made of, and what many answers have in common: pages, refusals."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from market.claims.loan import LoanStatus
from market.commands import Mode
from market.orderbook.order import CancelReason, OrderStatus

Money = Annotated[str, Field(pattern=r"^-?(0|[1-9][0-9]*)\.[0-9]{2}$", examples=["1234.50"])]
Yield = Annotated[str, Field(pattern=r"^-?(0|[1-9][0-9]*)\.[0-9]{6}$", examples=["0.128412"])]
Ytm = Annotated[
    Yield,
    Field(
        description="Effective annual yield (XIRR, actual/365F) of the remaining contractual instalments against the "
        "dirty amount. Assumed: each instalment is paid in full on its due date, one that is overdue on the next day, "
        "nobody prepays or defaults. Null where undefined, as for loans that trade flat."
    ),
]
YtmNominal = Annotated[Yield, Field(description="12 x ((1 + ytm)^(1/12) - 1), of the same assumptions as `ytm`.")]
YtmConservative = Annotated[
    Yield,
    Field(
        description="As `ytm`, but what is overdue is never paid; without arrears equal to `ytm`. A late loan has one "
        "though it trades flat, a loan in default has none."
    ),
]
MoneyWeighted = Annotated[
    Yield,
    Field(
        description="Money-weighted return: the effective annual rate (XIRR, actual/365F) at which all cash flows so "
        "far and today's market value with accrued interest are worth nothing in sum. Null where undefined."
    ),
]
Factor = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]*)\.[0-9]{8}$", examples=["0.91666667"])]
RateText = Annotated[str, Field(pattern=r"^-?(0|[1-9][0-9]*)\.[0-9]{2,6}$", examples=["0.003"])]
Moment = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
        json_schema_extra={"format": "date-time"},
        examples=["2024-05-01T12:00:00.000000Z"],
    ),
]
DayText = Annotated[
    str,
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", json_schema_extra={"format": "date"}, examples=["2024-05-01"]),
]
OrderIdOut = Annotated[str, Field(pattern=r"^[OQ]-[1-9][0-9]*$", examples=["O-1"])]
TradeIdOut = Annotated[str, Field(pattern=r"^T-[0-9]+$", examples=["T-1048577"])]
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Checksum = Annotated[int, Field(ge=0, lt=2**32)]
T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """next_cursor: what to pass as `cursor` for the rest, null at the end."""

    items: list[T]
    next_cursor: str | None


class FieldError(BaseModel):
    field: str
    message: str


class Refusal(BaseModel):
    """outcome: whether it may have been executed all the same. From `have` on: what a client may act on."""

    code: str
    outcome: Literal["not_executed", "unknown"]
    retryable: bool
    have: Money | None = None
    need: Money | None = None
    currency: str | None = Field(default=None, description="of have and need, where they are cash")
    bound: Money | None = None
    rule: str | None = None
    mode: Mode | None = None
    version: int | None = None
    loan_status: LoanStatus | None = None
    order_status: OrderStatus | None = None


class Problem(Refusal):
    """A refusal as a problem document (RFC 9457).

    partitions: of a list of events that spans several, the partition of each, with spaces between.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str | None
    errors: list[FieldError]
    skew_ms: int | None = None
    retry_after_ms: int | None = None
    cancel_reason: CancelReason | None = None
    event_id: str | None = None
    index: str | None = None
    partitions: str | None = None
    reason: str | None = None


class Acted(BaseModel):
    duplicate: bool
    engine_seq: Count
