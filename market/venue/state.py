"""All that the venue knows, in memory: accounts, loans, open orders, first answers. Only venue/ changes it.

Invariants: held <= total everywhere; held == Σ holds of the account's open orders; Σ cash of a currency == custody
and what other partitions sent here;
Σ face of a loan's holders == issued. `check_invariants` recomputes each from its parts.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import chain

from sortedcontainers import SortedSet

from market.claims.accrual import NOTHING_ACCRUED, Accrued, accrued, full_period
from market.claims.loan import FLAT_STATUSES, LIVE_STATUSES, LoanStatus, LoanTerms
from market.claims.schedule import Instalment, Schedule
from market.claims.servicing import Standing
from market.claims.yields import price_for_yield, remaining_flows
from market.commands import AccountKind, Mode
from market.errors import InsufficientFunds, InvariantViolation, UnknownAccount, UnknownLoan
from market.events import CashReceived, CashSent, CustodyMoved, LoanChanged, OrderAccepted, ScheduleChanged, Serviced
from market.ids import AccountId, ClientOrderId, Currency, Face, LoanId, Minor, OrderId, PriceBp, Seq, TradeId
from market.orderbook.book import OrderBook
from market.orderbook.order import Order, Side
from market.venue.guard import Guard
from market.venue.lots import Lot, are_in_order, eligible_face
from market.venue.rulebook import SHIPPED, Rulebook

QuoteKey = tuple[LoanId, str, bool]  # loan, quote set, whether it is the bid

PAR = PriceBp(10_000)


@dataclass(slots=True)
class Cash:
    """moved: of the total, what came from other partitions less what went there."""

    total: int = 0
    held: int = 0
    moved: int = 0

    @property
    def available(self) -> int:
        return self.total - self.held


@dataclass(slots=True)
class Claim:
    """Original face of one loan. cost: clean amount paid for what is held; realised: result of what was sold."""

    total: int = 0
    held: int = 0
    cost: int = 0
    realised: int = 0
    lots: list[Lot] = field(default_factory=list)

    @property
    def available(self) -> int:
        return self.total - self.held


@dataclass(slots=True, kw_only=True)
class Account:
    account_id: AccountId
    kind: AccountKind
    name: str
    owner_group: str | None
    risk_class: str | None
    digest: bytes
    frozen: bool = False
    blocked: bool = False  # by its own kill switch
    exec_seq: int = 0
    default_rulebook: str | None = None  # of an originator
    cash: defaultdict[Currency, Cash] = field(default_factory=lambda: defaultdict(Cash))
    claims: defaultdict[LoanId, Claim] = field(default_factory=lambda: defaultdict(Claim))
    orders: dict[OrderId, Order] = field(default_factory=dict)  # open ones
    first_answers: dict[ClientOrderId, OrderAccepted] = field(default_factory=dict)
    fenced_ids: set[ClientOrderId] = field(default_factory=set)  # used up without an order
    quotes: dict[QuoteKey, Order] = field(default_factory=dict)  # open sides; not among `orders`
    guards: dict[str, Guard] = field(default_factory=dict)  # market-maker protection, by group

    @property
    def bids_and_offers(self) -> Iterator[Order]:
        """Whatever rests in a book, quotes too."""
        return chain(self.orders.values(), self.quotes.values())

    def available_cash(self, currency: Currency) -> int:
        """What no order holds; asking leaves no entry behind."""
        return self.cash[currency].available if currency in self.cash else 0

    def require_cash(self, currency: Currency, amount: Minor) -> None:
        """Raises InsufficientFunds if less than that could leave the account."""
        if (available := self.available_cash(currency)) < amount:
            raise InsufficientFunds(
                "available cash is less", field="amount", have=available, need=amount, currency=currency
            )

    def available_face(self, loan_id: LoanId) -> int:
        return self.claims[loan_id].available if loan_id in self.claims else 0

    @property
    def owner(self) -> str:
        """Who must not trade with himself: the group if there is one ('/' is in no account id)."""
        return self.account_id if self.owner_group is None else f"group/{self.owner_group}"


@dataclass(frozen=True, slots=True)
class LoanDay:
    """What a loan's accrued interest and bounds are on one business date.

    bound: the most that can accrue before the next due date.  price_cap: the highest price at which a buyer still
    yields the rulebook's floor, None without a floor or where a yield is undefined (flat loans).
    """

    accrued: Accrued
    bound: Accrued
    price_cap: PriceBp | None
    yields_ppm: dict[PriceBp, int | None] = field(default_factory=dict)  # of prices that traded today
    prices: dict[tuple[Side, int], PriceBp | None] = field(default_factory=dict)  # of yields asked for today


@dataclass(slots=True, kw_only=True)
class Loan:
    terms: LoanTerms
    digest: bytes
    status: LoanStatus
    outstanding: Minor
    issued: Face
    schedule: Schedule
    rulebook: Rulebook
    book: OrderBook
    halt_reason: str | None = None
    last_price: PriceBp | None = None
    is_serviced: bool = False  # from then on the schedule is what servicing left of it, not what the terms say
    holders: set[AccountId] = field(default_factory=set)  # whoever ever held face
    day: LoanDay | None = None  # cache for the business date; whatever changes status, schedule or date clears it

    @property
    def is_flat(self) -> bool:
        return self.status in FLAT_STATUSES

    @property
    def next_instalment(self) -> Instalment | None:
        rows = self.schedule.rows
        return rows[self.schedule.paid] if self.schedule.paid < len(rows) else None

    @property
    def reference_price(self) -> PriceBp:
        return self.last_price if self.last_price is not None else PAR

    def on(self, business_date: date) -> LoanDay:
        if self.day is None:
            self.day = self._day(business_date)
        return self.day

    def _day(self, on: date) -> LoanDay:
        row = self.next_instalment
        if row is None or self.is_flat or self.status not in LIVE_STATUSES:
            return LoanDay(NOTHING_ACCRUED, NOTHING_ACCRUED, None)
        period_start = self.schedule.period_start(self.schedule.paid)
        accrued_now = accrued(self.terms, row, period_start, self.outstanding, on, flat=False)
        return LoanDay(accrued_now, full_period(row), self._price_cap(on, accrued_now))

    def _price_cap(self, on: date, accrued_now: Accrued) -> PriceBp | None:
        floor_ppm = self.rulebook.yield_floor_ppm
        if floor_ppm is None or self.outstanding == 0:
            return None
        if floor_ppm == 0:  # exact: the dirty price may not exceed what is still to come, undiscounted
            to_come = sum(row.payment for row in self.schedule.rows[self.schedule.paid :])
            clean_times_denominator = to_come * accrued_now.denominator - accrued_now.numerator
            return PriceBp(PAR * clean_times_denominator // (self.outstanding * accrued_now.denominator))
        return price_for_yield(
            remaining_flows(self.schedule, on),
            floor_ppm / 1_000_000,
            accrued=accrued_now,
            outstanding=self.outstanding,
            tick=self.rulebook.tick,
            side=Side.BUY,
        )

    def price_for(self, yield_ppm: int, side: Side, business_date: date) -> PriceBp | None:
        """Return the price that honours a yield as a limit, on the tick; None where there is none (flat loans)."""
        if self.is_flat or self.next_instalment is None:
            return None
        day = self.on(business_date)
        if (side, yield_ppm) not in day.prices:
            day.prices[side, yield_ppm] = price_for_yield(
                remaining_flows(self.schedule, business_date),
                yield_ppm / 1_000_000,
                accrued=day.accrued,
                outstanding=self.outstanding,
                tick=self.rulebook.tick,
                side=side,
            )
        return day.prices[side, yield_ppm]

    @property
    def standing(self) -> Standing:
        return Standing(
            status=self.status,
            outstanding=self.outstanding,
            schedule=self.schedule,
            never_late=self.terms.never_late,
        )

    def schedule_changed(self) -> ScheduleChanged:
        return ScheduleChanged(loan_id=self.terms.loan_id, schedule=self.schedule)

    def changed(self) -> LoanChanged:
        return LoanChanged(
            terms=self.terms,
            status=self.status,
            outstanding=self.outstanding,
            issued=self.issued,
            paid=self.schedule.paid,
            halt_reason=self.halt_reason,
            rulebook=self.rulebook,
            last_price=self.last_price,
            digest=self.digest,
        )


@dataclass(slots=True)
class Lending:
    """What one originator lent in a currency, and the face of it that was issued: transferred <= lent, always."""

    lent: int = 0
    transferred: int = 0


@dataclass(slots=True)
class State:
    mode: Mode = Mode.OPEN
    business_date: date | None = None  # None until the market was opened for the first time
    accounts: dict[AccountId, Account] = field(default_factory=dict)
    loans: dict[LoanId, Loan] = field(default_factory=dict)
    lending: defaultdict[tuple[AccountId, Currency], Lending] = field(default_factory=lambda: defaultdict(Lending))
    orders: dict[OrderId, Order] = field(default_factory=dict)  # open ones, sides of quotes too
    expiries: "SortedSet" = field(default_factory=SortedSet)
    custody: dict[str, CustodyMoved] = field(default_factory=dict)  # by custody reference
    custody_totals: defaultdict[Currency, int] = field(default_factory=lambda: defaultdict(int))
    sent: dict[str, CashSent] = field(default_factory=dict)  # the latest, by move id
    received: dict[tuple[int, str], CashReceived] = field(default_factory=dict)  # by sender and id, but for what is
    received_before: dict[int, Seq] = field(default_factory=dict)  # before this in the sender's log: it is received
    moved: defaultdict[Currency, int] = field(default_factory=lambda: defaultdict(int))  # received less sent, ever
    servicing: dict[str, Serviced] = field(default_factory=dict)  # by event id
    rulebooks: dict[str, Rulebook] = field(default_factory=lambda: dict(SHIPPED))
    last_trade_id: TradeId = TradeId(0)

    @property
    def today(self) -> date:
        if self.business_date is None:
            raise InvariantViolation("the market was never opened: its log must begin with OpenMarket")
        return self.business_date

    def add_loan(self, loan: Loan) -> None:
        self.loans[loan.terms.loan_id] = loan
        lending = self.lending_of(loan)
        lending.lent += loan.terms.original_principal
        lending.transferred += loan.issued

    def lending_of(self, loan: Loan) -> Lending:
        return self.lending[loan.terms.originator, loan.terms.currency]

    def account(self, account_id: AccountId) -> Account:
        try:
            return self.accounts[account_id]
        except KeyError:
            raise UnknownAccount(f"no account {account_id}") from None

    def loan(self, loan_id: LoanId) -> Loan:
        try:
            return self.loans[loan_id]
        except KeyError:
            raise UnknownLoan(f"no loan {loan_id}", field="symbol") from None

    def check_invariants(self) -> None:
        """Recompute every sum from its parts; InvariantViolation names the first that differs. Slow: for tests."""
        for violation in self._violations():
            raise InvariantViolation(violation)

    def _violations(self) -> Iterator[str]:
        cash: dict[Currency, int] = defaultdict(int)
        moved: dict[Currency, int] = defaultdict(int)
        face: dict[LoanId, int] = defaultdict(int)
        for account in self.accounts.values():
            held: dict[str, int] = defaultdict(int)
            for order in (*account.orders.values(), *account.quotes.values()):
                currency = self.loans[order.loan_id].terms.currency
                held[currency if order.side is Side.BUY else f"face {order.loan_id}"] += order.hold
                if order.quantity != order.filled + order.leaves or order.leaves <= 0 or order.level is None:
                    yield f"order {order.order_id} is open but does not rest or does not add up"
                if order.side is Side.SELL and order.hold != order.leaves:
                    yield f"sell order {order.order_id} holds {order.hold} of {order.leaves}"
            for key, order in account.quotes.items():
                if order.quote is None or key != (order.loan_id, order.quote.quote_set, order.side is Side.BUY):
                    yield f"quote {order.order_id} is filed under {key}"
                if order.order_id not in self.orders:
                    yield f"quote {order.order_id} of {account.account_id} is not among the open orders"
                group = None if order.quote is None else order.quote.mmp_group
                if group is not None and group in account.guards and account.guards[group].frozen:
                    yield f"quote {order.order_id} of {account.account_id} stands although its group is frozen"
            for currency, balance in account.cash.items():
                cash[currency] += balance.total
                moved[currency] += balance.moved
                if not 0 <= balance.held <= balance.total or balance.held != held[currency]:
                    yield f"cash of {account.account_id} in {currency}: {balance}, orders hold {held[currency]}"
            for loan_id, claim in account.claims.items():
                face[loan_id] += claim.total
                if not 0 <= claim.held <= claim.total or claim.held != held[f"face {loan_id}"]:
                    yield f"claim of {account.account_id} in {loan_id}: {claim}"
                if sum(lot.face for lot in claim.lots) != claim.total or not are_in_order(claim.lots):
                    yield f"lots of {account.account_id} in {loan_id} do not make {claim.total}: {claim.lots}"
                if claim.held > eligible_face(claim.lots, self.loans[loan_id].rulebook, self.today):
                    yield f"sells of {account.account_id} in {loan_id} hold more than is eligible: {claim}"
        listed = sum(len(account.orders) + len(account.quotes) for account in self.accounts.values())
        if listed != len(self.orders):
            yield f"accounts list {listed} open orders and quotes, there are {len(self.orders)}"
        for currency, total in cash.items():
            if total != self.custody_totals[currency] + moved[currency]:
                sources = f"the custodian {self.custody_totals[currency]}, other partitions sent {moved[currency]}"
                yield f"accounts hold {total} {currency}, {sources}"
        for currency in {*self.moved, *moved}:
            if self.moved[currency] != moved[currency]:
                yield f"moves make {self.moved[currency]} {currency}, the accounts have {moved[currency]} of them"
        lending: defaultdict[tuple[AccountId, Currency], Lending] = defaultdict(Lending)
        for loan in self.loans.values():
            of_originator = lending[loan.terms.originator, loan.terms.currency]
            of_originator.lent += loan.terms.original_principal
            of_originator.transferred += loan.issued
        for whose, made in lending.items():
            if self.lending[whose] != made or made.transferred > made.lent:
                yield f"loans of {whose} make {made}, kept is {self.lending[whose]}"
        for loan_id, loan in self.loans.items():
            if face[loan_id] != loan.issued or loan.issued > loan.terms.original_principal:
                yield f"holders of {loan_id} have {face[loan_id]}, issued are {loan.issued}"
            owed = sum(row.principal for row in loan.schedule.rows[loan.schedule.paid :])
            if loan.is_serviced and owed != loan.outstanding:
                yield f"open instalments of {loan_id} make {owed}, outstanding is {loan.outstanding}"
            loan.book.check_invariants()
