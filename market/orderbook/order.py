"""The words of an order: side, kind, time in force, self-trade prevention, states, and the order as it rests.

`Order` is the one mutable object of an order's life: the venue owns it, the book links it into a level.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from market.ids import AccountId, ClientOrderId, Face, LoanId, Minor, Nanos, OrderId, PriceBp

if TYPE_CHECKING:
    from market.orderbook.level import Level


EPOCH = Nanos(0)


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    LIMIT = "limit"
    MARKET = "market"
    YIELD = "yield"  # a limit by yield: the price follows from it


class TimeInForce(StrEnum):
    GTC = "gtc"
    DAY = "day"
    GTD = "gtd"
    IOC = "ioc"
    FOK = "fok"


IMMEDIATE = frozenset({TimeInForce.IOC, TimeInForce.FOK})  # never rests


class SelfTradePrevention(StrEnum):
    CANCEL_NEWEST = "cancel_newest"
    CANCEL_OLDEST = "cancel_oldest"
    CANCEL_BOTH = "cancel_both"
    DECREMENT = "decrement"


class OrderStatus(StrEnum):
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    SUSPENDED = "suspended"


FINAL_STATUSES = frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED})


class ExecType(StrEnum):
    NEW = "new"
    TRADE = "trade"
    AMENDED = "amended"
    RESTATED = "restated"
    CANCELED = "canceled"
    EXPIRED = "expired"
    SUSPENDED = "suspended"


class CancelReason(StrEnum):
    USER = "user"
    COD = "cod"
    DEAD_MAN = "dead_man"
    KILL_SWITCH = "kill_switch"
    STP = "stp"
    IOC = "ioc"
    FOK = "fok"
    EXPIRED = "expired"
    LOAN_REPAID = "loan_repaid"
    LOAN_DEFAULTED = "loan_defaulted"
    PAYMENT = "payment"
    RESCHEDULE = "reschedule"
    YIELD_FLOOR = "yield_floor"
    FUNDS = "funds"
    RULE = "rule"
    ADMIN = "admin"
    RESTART = "restart"
    MMP = "mmp"  # market-maker protection was triggered


class QuoteOf(NamedTuple):
    """What the sides of a mass quote share. connection: the one whose end withdraws them."""

    quote_set: str
    mmp_group: str | None
    session: str | None
    connection: str


class Order:
    """One order from acceptance to its final state.

    Invariant while open: quantity == filled + leaves; 0 < shown <= leaves when it rests.
    priority: ever-growing number given when the order joins the back of a queue; a level stands in its order.
    shown: what a reader of the book sees of it; equals leaves unless display_quantity makes it an iceberg.
    limit_yield_ppm: of an order by yield, effective annual, in millionths; its price follows from it at entry, and if
    it is pegged again on each business day and after each event of the loan.
    hold: what is reserved for it, cash (minor units, buy) or original face (sell).
    quote: of one side of a mass quote, which lives no longer than its connection; None for every other order.
    """

    __slots__ = (
        "account_id",
        "cancel_on_disconnect",
        "cancel_on_payment",
        "cancel_on_reschedule",
        "client_order_id",
        "created_at",
        "cum_cost",
        "display_quantity",
        "exec_id",
        "exec_type",
        "expire_at",
        "filled",
        "hold",
        "leaves",
        "level",
        "limit_yield_ppm",
        "loan_id",
        "min_quantity",
        "next",
        "order_id",
        "order_type",
        "owner",
        "pegged",
        "post_only",
        "prev",
        "price",
        "priority",
        "quantity",
        "quote",
        "session",
        "shown",
        "side",
        "status",
        "stp",
        "tag",
        "time_in_force",
        "turnover",
        "version",
    )

    def __init__(
        self,
        *,
        order_id: OrderId,
        account_id: AccountId,
        loan_id: LoanId,
        side: Side,
        price: PriceBp,
        quantity: Face,
        priority: int,
        owner: str | None = None,
        client_order_id: ClientOrderId | None = None,
        order_type: OrderType = OrderType.LIMIT,
        time_in_force: TimeInForce = TimeInForce.GTC,
        expire_at: Nanos | None = None,
        post_only: bool = False,
        min_quantity: Face | None = None,
        display_quantity: Face | None = None,
        stp: SelfTradePrevention = SelfTradePrevention.CANCEL_NEWEST,
        cancel_on_disconnect: bool = False,
        cancel_on_payment: bool = False,
        cancel_on_reschedule: bool = False,
        session: str | None = None,
        tag: str | None = None,
        created_at: Nanos = EPOCH,
        limit_yield_ppm: int | None = None,
        pegged: bool = False,
        quote: QuoteOf | None = None,
    ) -> None:
        self.order_id = order_id
        self.account_id = account_id
        self.owner = owner if owner is not None else account_id  # accounts of one owner never trade with each other
        self.loan_id = loan_id
        self.client_order_id = client_order_id
        self.side = side
        self.order_type = order_type
        self.time_in_force = time_in_force
        self.expire_at = expire_at
        self.price = price
        self.quantity = quantity
        self.leaves = quantity
        self.shown = Face(0)  # the book sets it when the order joins a queue
        self.filled = Face(0)
        self.cum_cost = Minor(0)
        self.turnover = 0
        self.post_only = post_only
        self.min_quantity = min_quantity
        self.display_quantity = display_quantity
        self.stp = stp
        self.cancel_on_disconnect = cancel_on_disconnect
        self.cancel_on_payment = cancel_on_payment
        self.cancel_on_reschedule = cancel_on_reschedule
        self.session = session
        self.tag = tag
        self.status = OrderStatus.NEW
        self.version = 1
        self.priority = priority
        self.hold = 0
        self.exec_id = ""  # of its last execution row
        self.exec_type = ExecType.NEW  # of that row
        self.created_at = created_at
        self.limit_yield_ppm = limit_yield_ppm
        self.pegged = pegged
        self.quote = quote
        self.level: Level | None = None  # the book's own links: None unless it rests
        self.prev: Order | None = None
        self.next: Order | None = None
