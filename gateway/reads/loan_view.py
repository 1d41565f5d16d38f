"""One loan as readers may see it: its state, its book, its last trades, and what follows from them."""

from collections import deque
from collections.abc import Callable
from datetime import date

from gateway.reads.day_stats import DayStats, RollingDay
from market.claims.accrual import NOTHING_ACCRUED, Accrued, accrued
from market.claims.loan import FLAT_STATUSES, LIVE_STATUSES, LoanStatus
from market.claims.schedule import Instalment, Schedule, recast, schedule_of
from market.claims.yields import effective_yield, remaining_flows, yield_at_price
from market.events import LoanChanged, Traded
from market.ids import Face, LoanId, Nanos, PriceBp
from market.orderbook.depth import LevelBook
from market.orderbook.order import Side

PAR = 10_000
RECENT_TRADES = 50  # kept per loan
CONDITION_DEPTH = 10  # of the view that an order's condition on the book names
NO_BOOK = -1  # no book has this digest
YIELDS_KEPT = 512  # per loan: prices whose yield is remembered until date or state change


def accrued_of_state(state: LoanChanged, schedule: Schedule, on: date) -> Accrued:
    """Return what has accrued on a whole loan; nothing while it trades flat or once it is finished."""
    is_flat = state.status in FLAT_STATUSES or state.status not in LIVE_STATUSES
    if is_flat or schedule.paid >= len(schedule.rows):
        return NOTHING_ACCRUED
    row, period_start = schedule.rows[schedule.paid], schedule.period_start(schedule.paid)
    return accrued(state.terms, row, period_start, state.outstanding, on, flat=False)


class LoanView:
    """One loan as the public sees it. Schedule and yields are computed when first asked for, then kept."""

    __slots__ = (
        *("_business_date", "_conservative", "_day", "_is_serviced", "_schedule", "_yields"),
        *("book", "partition", "recent", "state", "symbol"),
    )

    def __init__(self, state: LoanChanged, business_date: Callable[[], date], partition: int = 0) -> None:
        self.state = state
        self.partition = partition
        self.symbol = f"{state.terms.loan_id}/{state.terms.currency}"
        self.book = LevelBook()
        self.recent: deque[tuple[Nanos, Traded]] = deque(maxlen=RECENT_TRADES)  # oldest first
        self._business_date = business_date
        self._day = RollingDay()
        self._schedule: Schedule | None = None
        self._is_serviced = False  # then the schedule was told and does not follow from the terms
        self._yields: dict[PriceBp, float | None] = {}
        self._conservative: dict[PriceBp, float | None] = {}

    @property
    def loan_id(self) -> LoanId:
        return self.state.terms.loan_id

    @property
    def last(self) -> Traded | None:
        return self.recent[-1][1] if self.recent else None

    @property
    def last_price(self) -> PriceBp | None:
        """The last trade's price, also if that trade is older than this process."""
        return self.state.last_price

    @property
    def market_price(self) -> PriceBp | None:
        """What a claim is valued at: the last price, else the best bid, None if there is neither or the loan ended."""
        if self.state.status not in LIVE_STATUSES:
            return None
        return self.best_bid[0] if self.last_price is None and self.best_bid is not None else self.last_price

    @property
    def schedule(self) -> Schedule:
        if self._schedule is None:
            state = self.state
            schedule = schedule_of(state.terms)
            if state.paid != schedule.paid:
                schedule = recast(state.terms, schedule, paid=state.paid, outstanding=state.outstanding)
            self._schedule = schedule
        return self._schedule

    @property
    def next_due(self) -> Instalment | None:
        """The first instalment that is still open, None if there is none."""
        schedule = self.schedule
        return schedule.rows[schedule.paid] if schedule.paid < len(schedule.rows) else None

    @property
    def is_flat(self) -> bool:
        """Whether it changes hands without accrued interest: in arrears, or finished."""
        return self.state.status in FLAT_STATUSES or self.state.status not in LIVE_STATUSES

    @property
    def best_bid(self) -> tuple[PriceBp, Face] | None:
        return self.book.best(Side.BUY)

    @property
    def best_ask(self) -> tuple[PriceBp, Face] | None:
        return self.book.best(Side.SELL)

    def digest_at(self, seq: int) -> int:
        """Return the digest of the ten best levels if the view of them is at `seq`, else NO_BOOK."""
        depth = self.book.view(CONDITION_DEPTH).snapshot()
        return depth.digest if depth.seq == seq else NO_BOOK

    def accrued(self, on: date) -> Accrued:
        """Return accrued interest of the whole loan; nothing while it trades flat or once it is finished."""
        return accrued_of_state(self.state, self.schedule, on)

    def ytm_at(self, price: PriceBp) -> float | None:
        """Return the effective annual yield (XIRR, ACT/365F) of buying today at a clean price.

        None where it is undefined, as for loans that trade flat. About 30 us when it is not known yet.
        """
        if price not in self._yields:
            if len(self._yields) >= YIELDS_KEPT:
                self._yields.clear()
            self._yields[price] = self._ytm(price)
        return self._yields[price]

    def ytm_conservative_at(self, price: PriceBp) -> float | None:
        """Return the yield if all that is overdue is never paid; without arrears that is `ytm_at`.

        A late loan has one, too, though it trades flat; one in default has none: its schedule is no expectation now.
        """
        if price not in self._conservative:
            if len(self._conservative) >= YIELDS_KEPT:
                self._conservative.clear()
            self._conservative[price] = self._ytm_conservative(price)
        return self._conservative[price]

    def day(self, now: Nanos) -> DayStats:
        """Return the trading of the 24 hours before `now`."""
        return self._day.stats(now)

    def forget_day(self) -> None:
        """The business date moved: accrued interest and so every yield is another."""
        self._forget_yields()

    def change(self, state: LoanChanged) -> None:
        old, self.state = self.state, state
        if (old.paid, old.outstanding, old.terms) != (state.paid, state.outstanding, state.terms):
            self._schedule = self._schedule if self._is_serviced else None
            self._forget_yields()
        elif old.status is not state.status:
            self._forget_yields()

    def reschedule(self, schedule: Schedule) -> None:
        self._schedule, self._is_serviced = schedule, True
        self._forget_yields()

    def traded(self, at: Nanos, trade: Traded) -> None:
        self.recent.append((at, trade))
        self._day.add(at, trade.price, trade.quantity)

    def forget_trades(self) -> None:
        self.recent.clear()
        self._day = RollingDay()

    def inherit(self, former: "LoanView") -> None:
        """Keep what a snapshot does not tell: committed trades stay committed through a rebuild."""
        self.recent = former.recent
        self._day = former._day

    def _forget_yields(self) -> None:
        self._yields.clear()
        self._conservative.clear()

    def _ytm_conservative(self, price: PriceBp) -> float | None:
        state, due, on = self.state, self.next_due, self._business_date()
        if due is None or state.status not in LIVE_STATUSES or state.status is LoanStatus.DEFAULT:
            return None
        if due.due_date >= on and not self.is_flat:
            return self.ytm_at(price)
        flows = remaining_flows(self.schedule, on, overdue_written_off=True)
        return yield_at_price(flows, price, accrued=self.accrued(on), outstanding=state.outstanding)

    def _ytm(self, price: PriceBp) -> float | None:
        state, on = self.state, self._business_date()
        if self.is_flat or self.next_due is None:
            return None
        interest = self.accrued(on)
        dirty = state.outstanding * price / PAR + interest.numerator / interest.denominator
        return effective_yield(remaining_flows(self.schedule, on), dirty)
