"""What may be asked: one strict model per request body, each with the command that it becomes.

A field of the wrong type or form is refused here, by name. What only the venue can judge is passed on in a value that
it refuses for the right reason: a price or quantity finer than its unit becomes 0 and a symbol that names no loan stays
whole, so that the venue's order of checks (duplicate id, loan, mode, price, quantity, ...) holds for them too.
"""

import re
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Literal, NoReturn, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import ErrorDetails

from gateway.errors import UnknownField
from gateway.wire import LARGEST, exact_decimal, parse_date, parse_order_id, parse_time, printable, scaled
from market.claims.loan import (
    ClaimType,
    Coverage,
    DayCount,
    Document,
    Guarantee,
    GuaranteeKind,
    LoanStatus,
    LoanTerms,
    RepaymentMethod,
)
from market.claims.servicing import NewRow, ServicingEvent, ServicingType
from market.commands import (
    AccountKind,
    AmendOrder,
    AssignRulebook,
    CancelAll,
    CancelOrder,
    Deposit,
    FreezeAccount,
    HaltLoan,
    IssueFace,
    Mode,
    OpenAccount,
    PlaceOrder,
    RegisterLoan,
    RollDay,
    ServiceLoan,
    SetMode,
    Withdraw,
)
from market.errors import InvalidArguments, UnknownOrder
from market.ids import AccountId, ClientOrderId, Currency, Face, LoanId, Minor, Nanos, OrderId, PriceBp
from market.orderbook.order import IMMEDIATE, OrderType, SelfTradePrevention, Side, TimeInForce

RATE_PLACES = 6  # rates are counted in millionths
YIELD_PPM_MAX = 100_000_000  # 10,000 %
QUANTITY_MAX = Face(2**46)  # of one order: times any price within the band it fits 64 bits
NOT_AN_ORDER = OrderId(0)  # no order has this number
TEXTS_KEPT = 1 << 14  # decimals

N = TypeVar("N", bound=int)


def _decimal(value: object) -> Decimal:
    number = exact_decimal(value)
    if number is None:
        raise ValueError("must be a decimal number in plain notation")
    return number


def of_text_once(read: Callable[[object], N]) -> Callable[[object], N]:
    """Let `read` look at each text once, of the latest few thousand: a market-maker's figures come again and again."""
    read_text = lru_cache(maxsize=TEXTS_KEPT)(read)  # what it raises is not kept

    def read_any(value: object) -> N:
        return read_text(value) if type(value) is str else read(value)

    return read_any


@of_text_once
def _price(value: object) -> PriceBp:
    """Basis points. Finer than the unit is off every tick, so 0; too large for the wire is out of every band."""
    number = _decimal(value)
    return PriceBp(LARGEST if number > LARGEST else scaled(number, 2) or 0)


@of_text_once
def to_quantity(value: object) -> Face:
    """Original face. Finer than the unit, or more than there can be, is no quantity, so 0."""
    units = scaled(_decimal(value), 2) or 0
    return Face(units if units <= QUANTITY_MAX else 0)


def _amount(value: object) -> Minor:
    units = scaled(_decimal(value), 2)
    if units is None:
        raise ValueError("must have at most 2 decimals and be at most 90 trillion")
    return Minor(units)


def _rate(value: object) -> int:
    ppm = scaled(_decimal(value), RATE_PLACES)
    if ppm is None:
        raise ValueError("must have at most 6 decimals")
    return ppm


def _limit_yield(value: object) -> int:
    """Millionths. What a price can be found for is the venue's to say, within what its columns hold."""
    ppm = _rate(value)
    if not -1_000_000 < ppm <= YIELD_PPM_MAX:
        raise ValueError("must be more than -1 and at most 100")
    return ppm


def _time(value: object) -> Nanos:
    at = parse_time(value)
    if at is None:
        raise ValueError("must be a time like 2024-05-01T12:00:00Z (RFC 3339)")
    return at


def _date(value: object) -> date:
    day = parse_date(value)
    if day is None:
        raise ValueError("must be a date like 2024-05-01")
    return day


def _order_id(value: object) -> OrderId:
    """An id that is no order's is passed on as one, for the venue to say that it does not know it."""
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return parse_order_id(value) or NOT_AN_ORDER


def _decimal_schema(description: str, *, places: int, example: str) -> WithJsonSchema:
    """Return how the contract describes a decimal: text in plain notation, or a JSON number that is read exactly."""
    text = {"type": "string", "pattern": rf"^-?(0|[1-9][0-9]*)(\.[0-9]{{1,{places}}})?$"}
    return WithJsonSchema({"description": description, "anyOf": [text, {"type": "number"}], "examples": [example]})


def _text_schema(description: str, example: str, **more: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description, "examples": [example], **more})


Price = Annotated[
    PriceBp,
    PlainValidator(_price),
    _decimal_schema("clean price in percent of current face", places=2, example="98.75"),
]
Quantity = Annotated[
    Face,
    PlainValidator(to_quantity),
    _decimal_schema("original face in currency units", places=2, example="5000.00"),
]
Amount = Annotated[
    Minor, PlainValidator(_amount), _decimal_schema("money in currency units", places=2, example="10000.00")
]
Rate = Annotated[
    int, PlainValidator(_rate), _decimal_schema("a rate as a fraction", places=RATE_PLACES, example="0.12")
]
LimitYield = Annotated[
    int,
    PlainValidator(_limit_yield),
    _decimal_schema("effective annual yield as a fraction", places=RATE_PLACES, example="0.128412"),
]
Time = Annotated[
    Nanos,
    PlainValidator(_time),
    _text_schema("a time (RFC 3339)", "2024-05-01T12:00:00Z", format="date-time"),
]
Day = Annotated[date, PlainValidator(_date), _text_schema("a date", "2024-05-01", format="date")]
OrderIdText = Annotated[OrderId, PlainValidator(_order_id), _text_schema("an order's id", "O-1")]

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Text = Annotated[str, StringConstraints(max_length=500)]
CLIENT_ORDER_ID = r"[A-Za-z0-9._:-]{1,36}"
ClientOrderIdText = Annotated[str, StringConstraints(pattern=f"^{CLIENT_ORDER_ID}$")]
LOGIN = re.compile(r"[a-z0-9._@+-]{3,64}")
CustodyRef = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

E = TypeVar("E", bound=StrEnum)
Word = Annotated[E, Field(strict=False)]  # one of an enumeration's words


class Request(BaseModel):
    """Strict: nothing is converted, nothing unknown is passed over."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Return the request that `body` says. Raises UnknownField or InvalidArguments, each naming the field."""
        try:
            return cls.model_validate(body)
        except ValidationError as e:
            _refuse(e.errors(include_url=False, include_context=False, include_input=False))


def _refuse(errors: Sequence[ErrorDetails]) -> NoReturn:
    """Raise the first thing that is wrong. An unknown field comes before all else: it may be a misspelt one."""
    error = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    field = printable(".".join(str(part) for part in error["loc"])) or None
    if error["type"] == "extra_forbidden":
        raise UnknownField(f"there is no field {field} here", field=field)
    raise InvalidArguments(f"{field or 'request'}: {error['msg'].removeprefix('Value error, ')}", field=field)


class OrderParams(Request):
    """An order, but for the loan: that is `symbol` on the socket and `loan_id` in REST."""

    side: Word[Side]
    order_type: Word[OrderType] = OrderType.LIMIT
    limit_price: Price | None = None
    order_qty: Quantity
    time_in_force: Word[TimeInForce] | None = None
    expire_time: Time | None = None
    post_only: bool = False
    min_qty: Quantity | None = None
    display_qty: Quantity | None = None
    stp_type: Word[SelfTradePrevention] = SelfTradePrevention.CANCEL_NEWEST
    cancel_on_disconnect: bool = False
    cancel_on_payment: bool = False
    cancel_on_reschedule: bool = False
    deadline: Time | None = None
    tag: Name | None = None
    cl_ord_id: ClientOrderIdText | None = None
    limit_yield: LimitYield | None = None
    peg: Literal["yield"] | None = None
    if_book_seq: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    check_only: bool = Field(False, alias="validate")

    def to_command(
        self,
        account_id: AccountId,
        loan_id: LoanId,
        *,
        now: Nanos,
        session: str | None = None,
        if_book: int | None = None,
    ) -> PlaceOrder:
        """Raises InvalidArguments for fields that contradict each other.

        now: when it was received.  if_book: the digest that if_book_seq stands for.
        """
        self._check_words(now)
        return PlaceOrder(
            account_id=account_id,
            loan_id=loan_id,
            side=self.side,
            quantity=self.order_qty,
            order_type=self.order_type,
            price=self.limit_price,
            time_in_force=self._time_in_force,
            expire_at=self.expire_time,
            post_only=self.post_only,
            min_quantity=self.min_qty,
            display_quantity=self.display_qty,
            stp=self.stp_type,
            cancel_on_disconnect=self.cancel_on_disconnect,
            cancel_on_payment=self.cancel_on_payment,
            cancel_on_reschedule=self.cancel_on_reschedule,
            client_order_id=None if self.cl_ord_id is None else ClientOrderId(self.cl_ord_id),
            session=session,
            tag=self.tag,
            deadline=self.deadline,
            if_book=if_book,
            limit_yield_ppm=self.limit_yield,
            pegged=self.peg is not None,
        )

    @property
    def _time_in_force(self) -> TimeInForce:
        if self.time_in_force is not None:
            return self.time_in_force
        return TimeInForce.IOC if self.order_type is OrderType.MARKET else TimeInForce.GTC

    def _check_words(self, now: Nanos) -> None:
        """Refuse what contradicts itself, whatever the market is like."""
        is_market, lasts = self.order_type is OrderType.MARKET, self._time_in_force
        is_limit, by_yield = self.order_type is OrderType.LIMIT, self.order_type is OrderType.YIELD
        _require(self.limit_price is not None or not is_limit, "limit_price", "a limit order needs one")
        _require(self.limit_price is None or is_limit, "limit_price", f"a {self.order_type} order has none")
        _require(self.limit_yield is not None or not by_yield, "limit_yield", "a yield order needs one")
        _require(self.limit_yield is None or by_yield, "limit_yield", "only a yield order has one")
        _require(self.peg is None or by_yield, "peg", "only a yield order can be pegged to its yield")
        _require(self.peg is None or lasts not in IMMEDIATE, "peg", "this order never rests")
        _require(not is_market or lasts is TimeInForce.IOC, "time_in_force", "a market order is ioc")
        _require(lasts is not TimeInForce.GTD or self.expire_time is not None, "expire_time", "gtd needs one")
        _require(lasts is TimeInForce.GTD or self.expire_time is None, "expire_time", "only gtd has one")
        _require(self.expire_time is None or self.expire_time > now, "expire_time", "must be in the future")
        _require(not self.post_only or lasts not in IMMEDIATE, "post_only", "an order that never rests can't be")
        _require(self.display_qty is None or lasts not in IMMEDIATE, "display_qty", "this order never rests")


def _require(holds: bool, field: str, why: str) -> None:
    if not holds:
        raise InvalidArguments(f"{field}: {why}", field=field)


class RestOrder(OrderParams):
    loan_id: Name


class RestBatch(Request):
    """Each order is read by itself, so that one refusal is not that of all."""

    orders: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=50)]


class AmendParams(Request):
    order_qty: Quantity | None = None
    limit_price: Price | None = None
    if_version: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    deadline: Time | None = None

    def to_command(
        self,
        account_id: AccountId,
        *,
        order_id: OrderId | None = None,
        client_order_id: ClientOrderId | None = None,
    ) -> AmendOrder:
        _require(self.order_qty is not None or self.limit_price is not None, "order_qty", "nothing to change")
        return AmendOrder(
            account_id=account_id,
            order_id=order_id,
            client_order_id=client_order_id,
            quantity=self.order_qty,
            price=self.limit_price,
            if_version=self.if_version,
            deadline=self.deadline,
        )


class CancelAllParams(Request):
    side: Word[Side] | None = None
    session: Name | None = None
    tag: Name | None = None
    block: bool = False

    def to_command(self, account_id: AccountId, loan_id: LoanId | None) -> CancelAll:
        return CancelAll(
            account_id=account_id,
            loan_id=loan_id,
            side=self.side,
            session=self.session,
            tag=self.tag,
            block=self.block,
        )


class RestCancelAll(CancelAllParams):
    loan_id: Name | None = None


def client_order_id(text: str) -> ClientOrderId:
    """Return the client order id that a path says. Raises UnknownOrder for a text that can't be one."""
    if not re.fullmatch(CLIENT_ORDER_ID, text):
        raise UnknownOrder("no order can have this cl_ord_id", field="cl_ord_id")
    return ClientOrderId(text)


def cancel_command(account_id: AccountId, order_id: str) -> CancelOrder:
    """Raises UnknownOrder for a text that is no order's id."""
    number = parse_order_id(order_id)
    if number is None:
        raise UnknownOrder(f"no order {printable(order_id)}", field="order_id")
    return CancelOrder(account_id=account_id, order_id=number)


# Keys


class Scope(StrEnum):
    READ = "read"
    TRADE = "trade"
    TRANSFER = "transfer"
    ADMIN = "admin"


class NewApiKey(Request):
    scopes: list[Word[Scope]] = Field(min_length=1, max_length=4)
    ip_allow: list[Name] = Field([], max_length=32)
    expires_at: Time | None = None
    label: Name | None = None
    reason: Text | None = None


# People who sign in with a password


def _login(value: object) -> str:
    """Case makes no difference."""
    text = value.lower() if isinstance(value, str) else ""
    if not LOGIN.fullmatch(text):
        raise ValueError("must be 3 to 64 of a-z 0-9 . _ @ + -")
    return text


Login = Annotated[
    str,
    PlainValidator(_login),
    _text_schema("login name; case makes no difference", "ada", pattern="^[A-Za-z0-9._@+-]{3,64}$"),
]
Password = Annotated[str, StringConstraints(max_length=1_000)]  # what is good enough, passwords.py says


class SignIn(Request):
    login: Login
    password: Password


class SignUp(SignIn):
    """name: of the account, as its owner may call it."""

    name: Name | None = None


# Administration


class Empty(Request):
    """A body that has nothing to say but may give a reason."""

    reason: Text | None = None


class NewAccount(Request):
    account_id: Name
    kind: Word[AccountKind]
    name: Text = ""
    owner_group: Name | None = None
    risk_class: Literal["c1", "c2", "c3", "c4", "c5"] | None = None
    reason: Text | None = None

    def to_command(self) -> OpenAccount:
        return OpenAccount(
            account_id=AccountId(self.account_id),
            kind=self.kind,
            name=self.name,
            owner_group=self.owner_group,
            risk_class=self.risk_class,
            reason=self.reason,
        )


class NewUser(SignIn):
    """A login that acts for an account. scopes: `admin` makes it an operator's."""

    account_id: Name
    scopes: list[Word[Scope]] = Field(min_length=1, max_length=4)
    reason: Text | None = None


def freeze_command(body: Empty, account_id: str, *, frozen: bool) -> FreezeAccount:
    return FreezeAccount(account_id=AccountId(account_id), frozen=frozen, reason=body.reason)


class CashMovement(Request):
    account_id: Name
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")]
    amount: Amount
    custody_ref: CustodyRef
    reason: Text | None = None

    def to_deposit(self) -> Deposit:
        return Deposit(
            account_id=AccountId(self.account_id),
            currency=Currency(self.currency),
            amount=self.amount,
            custody_ref=self.custody_ref,
            reason=self.reason,
        )

    def to_withdrawal(self) -> Withdraw:
        return Withdraw(
            account_id=AccountId(self.account_id),
            currency=Currency(self.currency),
            amount=self.amount,
            custody_ref=self.custody_ref,
            reason=self.reason,
        )


class GuaranteeBody(Request):
    kind: Word[GuaranteeKind] = GuaranteeKind.NONE
    name: Text | None = None
    trigger_days: Annotated[int, Field(ge=0, le=36_500)] | None = None
    coverage: Word[Coverage] = Coverage.PRINCIPAL


class DocumentBody(Request):
    name: Text
    sha256: Sha256


class NewLoan(Request):
    """outstanding_principal: all of the original if not given.  never_late: what the status says of it if not given."""

    loan_id: Name
    originator: Name
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")]
    original_principal: Amount
    issued_face: Amount = Minor(0)
    annual_rate: Rate
    repayment_method: Word[RepaymentMethod]
    term_months: int = Field(ge=1, le=1_200)
    months_per_period: int = Field(1, ge=1, le=1_200)
    issue_date: Day
    first_due_date: Day
    day_count: Word[DayCount] = DayCount.PERIOD
    outstanding_principal: Amount | None = None
    status: Word[LoanStatus] = LoanStatus.CURRENT
    grade: Annotated[str, StringConstraints(max_length=16)] = ""
    claim_type: Word[ClaimType] = ClaimType.UNSECURED
    guarantee: GuaranteeBody = GuaranteeBody()
    borrower_ref: Text = ""
    purpose: Text = ""
    region: Text = ""
    rulebook: Name | None = None
    documents: list[DocumentBody] = Field([], max_length=64)
    transferable: bool = True
    never_late: bool | None = None
    reason: Text | None = None

    @field_validator("guarantee", mode="before")
    @classmethod
    def _null_is_none(cls, value: object) -> object:
        return {} if value is None else value

    def to_command(self) -> RegisterLoan:
        """Raises InvalidArguments for a first due date so late that the last instalment would leave the calendar."""
        last_year = self.first_due_date.year + self.term_months // 12 + 1
        _require(last_year <= 2_400, "first_due_date", "the last instalment must fall before 2400")
        return RegisterLoan(
            terms=self._terms(),
            issued_face=Face(self.issued_face),
            status=self.status,
            rulebook=self.rulebook,
            reason=self.reason,
        )

    def _terms(self) -> LoanTerms:
        outstanding = self.outstanding_principal
        never_late = self.never_late
        if never_late is None:
            never_late = self.status in (LoanStatus.CURRENT, LoanStatus.REPAID)
        return LoanTerms(
            loan_id=LoanId(self.loan_id),
            originator=AccountId(self.originator),
            currency=Currency(self.currency),
            original_principal=self.original_principal,
            outstanding_at_registration=self.original_principal if outstanding is None else outstanding,
            annual_rate_ppm=self.annual_rate,
            repayment_method=self.repayment_method,
            term_months=self.term_months,
            months_per_period=self.months_per_period,
            issue_date=self.issue_date,
            first_due_date=self.first_due_date,
            day_count=self.day_count,
            grade=self.grade,
            claim_type=self.claim_type,
            guarantee=Guarantee(
                kind=self.guarantee.kind,
                name=self.guarantee.name,
                trigger_days=self.guarantee.trigger_days,
                coverage=self.guarantee.coverage,
            ),
            borrower_ref=self.borrower_ref,
            purpose=self.purpose,
            region=self.region,
            documents=tuple(Document(name=each.name, sha256=each.sha256) for each in self.documents),
            transferable=self.transferable,
            never_late=never_late,
        )


class NewFace(Request):
    face: Quantity
    reason: Text | None = None

    def to_command(self, loan_id: str) -> IssueFace:
        return IssueFace(loan_id=LoanId(loan_id), face=self.face, reason=self.reason)


class RulebookChoice(Request):
    rulebook: Name
    reason: Text | None = None

    def to_command(self, loan_id: str) -> AssignRulebook:
        return AssignRulebook(loan_id=LoanId(loan_id), rulebook=self.rulebook, reason=self.reason)


def halt_command(body: Empty, loan_id: str, *, halted: bool) -> HaltLoan:
    return HaltLoan(loan_id=LoanId(loan_id), halted=halted, reason=body.reason)


class ScheduleRowBody(Request):
    """A row as `/schedule` shows it; what follows from the rest may be left out."""

    n: int | None = None
    due_date: Day
    payment: Amount | None = None
    interest: Amount
    principal: Amount
    balance: Amount | None = None


class ServicingBody(Request):
    event_id: CustodyRef
    loan_id: Name
    type: Word[ServicingType]
    value_date: Day
    amount: Amount | None = None
    principal: Amount | None = None
    interest: Amount | None = None
    costs: Amount | None = None
    schedule: list[ScheduleRowBody] | None = Field(None, max_length=1_200)
    reason: Text | None = None

    def to_event(self) -> ServicingEvent:
        """Raises InvalidArguments for a schedule that contradicts itself."""
        return ServicingEvent(
            event_id=self.event_id,
            loan_id=LoanId(self.loan_id),
            type=self.type,
            value_date=self.value_date,
            amount=self.amount,
            principal=self.principal,
            interest=self.interest,
            costs=self.costs,
            schedule=None if self.schedule is None else self._rows(self.schedule),
        )

    def _rows(self, rows: list[ScheduleRowBody]) -> tuple[NewRow, ...]:
        balance: int = sum(row.principal for row in rows)
        for row in rows:
            _require(row.due_date.year <= 2_400, "schedule", "the last instalment must fall before 2400")
            balance -= row.principal
            adds_up = row.payment in (None, row.interest + row.principal) and row.balance in (None, balance)
            _require(adds_up, "schedule", "payment or balance of a row does not add up")
        return tuple(NewRow(due_date=row.due_date, interest=row.interest, principal=row.principal) for row in rows)


class ServicingList(Request):
    events: list[ServicingBody] = Field(min_length=1, max_length=20_000)

    def to_command(self) -> ServiceLoan:
        reason = next((event.reason for event in self.events if event.reason is not None), None)
        return ServiceLoan(events=tuple(event.to_event() for event in self.events), reason=reason)


class NewMode(Request):
    mode: Word[Mode]
    reason: Text | None = None

    def to_command(self) -> SetMode:
        return SetMode(mode=self.mode, reason=self.reason)


class DayRoll(Request):
    to: Day
    reason: Text | None = None

    def to_command(self) -> RollDay:
        return RollDay(to=self.to, reason=self.reason)
