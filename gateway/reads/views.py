"""The committed state as readers may see it: loans, books, accounts, built from events alone.

The venue's own memory is ahead of the commit and is never read here. `Views` hears of an entry before any feed does, so
whoever reads it in a feed or a request handler sees exactly what was committed.
Left out: finished orders, executions and past trades, which are read from the database.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any

from msgspec.structs import replace

from gateway.reads.loan_view import NO_BOOK, LoanView
from market.commands import Mode
from market.errors import UnknownAccount, UnknownLoan
from market.events import (
    AccountChanged,
    BookChanged,
    CashChanged,
    ClaimChanged,
    Event,
    Executed,
    HoldChanged,
    LevelChange,
    LoanChanged,
    MarketChanged,
    OpenOrder,
    OrderState,
    QuotesChanged,
    QuoteState,
    RulebookChanged,
    ScheduleChanged,
    Traded,
)
from market.ids import FIRST_QUOTE_ID, AccountId, Currency, Face, LoanId, Minor, Nanos, OrderId, Seq
from market.orderbook.depth import FIRST_SEQ, DepthDelta
from market.orderbook.order import FINAL_STATUSES, CancelReason, OrderStatus, Side
from market.partitions import partition_of, seq_before
from market.port import Committed
from market.venue.rulebook import Rulebook


class AccountView:
    """One account as its owner sees it. open_orders: oldest first.

    cash: of all partitions, and what is on the way between two.  lines: what it is made of, if there are several.
    exec_seqs: number of the last message, by partition.
    quotes: open sides.  lost_quotes: those that the last rebuild ended.
    """

    __slots__ = ("cash", "claims", "exec_seqs", "lines", "lost_quotes", "open_orders", "quotes", "state")

    def __init__(self, state: AccountChanged) -> None:
        self.state = state
        self.exec_seqs: dict[int, int] = {}
        self.cash: dict[Currency, CashChanged] = {}
        self.lines: dict[Currency, dict[int, CashChanged]] = {}
        self.claims: dict[LoanId, ClaimChanged] = {}
        self.open_orders: dict[OrderId, OrderState] = {}
        self.quotes: dict[OrderId, QuoteState] = {}
        self.lost_quotes: list[QuoteState] = []

    @property
    def account_id(self) -> AccountId:
        return self.state.account_id

    @property
    def exec_seq(self) -> int:
        """The number of the last message of partition 0, which is the only one of most markets."""
        return self.exec_seqs.get(0, 0)

    def add_up(self, currency: Currency) -> None:
        """Make the cash of a currency from its lines. What one has sent counts until another has received it."""
        lines = self.lines[currency].values()
        total, held = sum(line.total - line.moved for line in lines), sum(line.held for line in lines)
        self.cash[currency] = CashChanged(
            account_id=self.account_id, currency=currency, total=Minor(total), held=Minor(held)
        )


def quotes_ended(before: Sequence[QuoteState], after: AccountView) -> list[QuoteState]:
    """Return the quotes that stood before a rebuild and do not after it, as they ended."""
    return [_as_ended(quote) for quote in before if quote.order_id not in after.quotes]


def _as_ended(quote: QuoteState) -> QuoteState:
    return quote._replace(status=OrderStatus.CANCELED, cancel_reason=CancelReason.RESTART)


class Views:
    """An engine listener; register it before every other one.

    partitions: of the market; each is told by an engine of its own, with its own epoch, and a snapshot of one replaces
    what is of that one. Of accounts, mode, day and rulebooks, which all of them tell, partition 0 has the say.

    A state of a book is named by the last command of the epoch that changed it, FIRST_SEQ if none did: so all who
    follow the same engine give a state the same number, whenever they began.
    """

    def __init__(self, *, partitions: int = 1) -> None:
        self.partitions = partitions
        self.epochs: dict[int, int] = {}  # of the partitions that were heard
        self.seqs: dict[int, Seq] = {}  # and the last command of each
        self._partition = 0  # that is heard now
        self.mode = Mode.OPEN
        self.business_date = date.min
        self.loans: dict[LoanId, LoanView] = {}
        self.accounts: dict[AccountId, AccountView] = {}
        self.rulebooks: dict[str, Rulebook] = {}
        self.book_deltas: list[tuple[LoanView, list[DepthDelta]]] = []  # of the last batch, for the feeds
        self.restated: list[LoanView] = []  # loans of the last batch of which more than the last price changed
        self._touched_books: dict[LoanId, int] = {}  # with the last command that did
        self._restated: dict[LoanId, LoanView] = {}
        self._at, self._told = Nanos(0), FIRST_SEQ  # when, and by which command, what is being told happened
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            MarketChanged: self._market_changed,
            AccountChanged: self._account_changed,
            LoanChanged: self._loan_changed,
            RulebookChanged: self._rulebook_changed,
            ScheduleChanged: self._schedule_changed,
            CashChanged: self._cash_changed,
            ClaimChanged: self._claim_changed,
            OpenOrder: self._open_order,
            QuotesChanged: self._quotes_changed,
            HoldChanged: self._hold_changed,
            Executed: self._executed,
            BookChanged: self._book_changed,
            Traded: self._traded,
        }

    @property
    def epoch(self) -> int:
        """Which writer partition 0 has."""
        return self.epochs.get(0, 0)

    @property
    def engine_seq(self) -> Seq:
        """The last command of partition 0."""
        return self.seqs.get(0, Seq(0))

    @property
    def heard(self) -> list[Seq]:
        """The last command of each partition."""
        return [self.seqs.get(partition, seq_before(partition)) for partition in range(self.partitions)]

    def epoch_of(self, loan: LoanView) -> int:
        """Which writer the loan's partition has."""
        return self.epochs.get(loan.partition, 0)

    def loan(self, loan_id: LoanId) -> LoanView:
        try:
            return self.loans[loan_id]
        except KeyError:
            raise UnknownLoan(f"no loan {loan_id}") from None

    def loan_of_symbol(self, symbol: str) -> LoanView:
        """Return the loan of `<loan_id>/<currency>`; raises UnknownLoan also when only the currency is wrong."""
        loan = self.loans.get(LoanId(symbol.partition("/")[0]))
        if loan is None or loan.symbol != symbol:
            raise UnknownLoan(f"no loan {symbol}", field="symbol")
        return loan

    def condition(self, loan_id: LoanId, if_book_seq: int | None) -> int | None:
        """Return what PlaceOrder.if_book says for a number of the loan's depth-10 view."""
        if if_book_seq is None:
            return None
        loan = self.loans.get(loan_id)
        return NO_BOOK if loan is None else loan.digest_at(if_book_seq)

    def account(self, account_id: AccountId) -> AccountView:
        try:
            return self.accounts[account_id]
        except KeyError:
            raise UnknownAccount(f"no account {account_id}") from None

    def on_snapshot(self, epoch: int, seq: Seq, events: Sequence[Event]) -> None:
        former, quoting = self._forget(partition_of(seq))
        self.epochs[self._partition], self.seqs[self._partition] = epoch, seq
        self._told = FIRST_SEQ
        owners = (MarketChanged, AccountChanged, LoanChanged)  # what the other events belong to, so first
        for event in events:
            if isinstance(event, owners):
                self._handle(event)
                if isinstance(event, AccountChanged):
                    self.accounts[event.account_id].exec_seqs[self._partition] = event.exec_seq
        for event in events:
            if not isinstance(event, owners):
                self._handle(event)
        for account_id, account in self.accounts.items():
            if account_id in quoting:
                account.lost_quotes = quotes_ended(quoting[account_id], account)
        for loan_id, loan in self.loans.items():
            if loan.partition == self._partition:
                loan.book.restart(self._touched_books.get(loan_id, FIRST_SEQ))
                if loan_id in former:
                    loan.inherit(former[loan_id])
        self._touched_books.clear()
        self._restated.clear()

    def on_epoch(self, epoch: int, seq: Seq) -> None:
        """Drop all quotes of the partition, as its writer's death did: from the books, and from what they held."""
        self._partition = partition_of(seq)
        self.epochs[self._partition], self.seqs[self._partition] = epoch, seq
        for account in self.accounts.values():
            gone = [quote for quote in account.quotes.values() if self._is_here(quote.order_id)]
            account.lost_quotes = [_as_ended(quote) for quote in gone]
            if gone:
                self._drop_quotes(account, gone)
        self.on_batch_end()
        for loan in self.loans.values():
            if loan.partition == self._partition:
                loan.book.restart(FIRST_SEQ)

    def on_entry(self, entry: Committed) -> None:
        self._partition = partition_of(entry.seq)
        self.seqs[self._partition], self._told, self._at = entry.seq, entry.seq, entry.at
        for event in entry.events:
            self._handle(event)

    def on_batch_end(self) -> None:
        """Move the depth views on by one step for the whole batch."""
        touched = [(self.loans[loan_id], seq) for loan_id, seq in self._touched_books.items()]
        self.book_deltas = [(loan, loan.book.flush(seq)) for loan, seq in touched]
        self._touched_books.clear()
        self.restated = list(self._restated.values())
        self._restated.clear()

    def count_day(self, partition: int, trades: Iterable[tuple[Nanos, Traded]]) -> None:
        """Count a partition's trades of the last day anew, oldest first: all that are known, in this process or not."""
        for loan in self.loans.values():
            if loan.partition == partition:
                loan.forget_trades()
        self.add_past_trades(trades)

    def add_past_trades(self, trades: Iterable[tuple[Nanos, Traded]]) -> None:
        """Count trades that were not told when they were made, oldest first."""
        for at, trade in trades:
            if (loan := self.loans.get(trade.loan_id)) is not None:
                loan.traded(at, trade)

    def _forget(self, partition: int) -> tuple[dict[LoanId, LoanView], dict[AccountId, list[QuoteState]]]:
        """Forget what is of a partition; return its loans and quotes as they were."""
        self._partition = partition
        former = {loan_id: loan for loan_id, loan in self.loans.items() if loan.partition == partition}
        quoting = {
            account_id: [quote for quote in account.quotes.values() if self._is_here(quote.order_id)]
            for account_id, account in self.accounts.items()
        }
        if self.partitions == 1:
            self.loans, self.accounts, self.rulebooks = {}, {}, {}
            return former, quoting
        self.loans = {loan_id: loan for loan_id, loan in self.loans.items() if loan.partition != partition}
        for account in self.accounts.values():
            account.claims = {loan_id: claim for loan_id, claim in account.claims.items() if loan_id not in former}
            account.open_orders = {n: order for n, order in account.open_orders.items() if not self._is_here(n)}
            account.quotes = {n: quote for n, quote in account.quotes.items() if not self._is_here(n)}
            for currency, lines in account.lines.items():
                if lines.pop(partition, None) is not None:
                    account.add_up(currency)
        return former, quoting

    def _is_here(self, order_id: OrderId) -> bool:
        """Whether an order or quote is of the partition that is heard now."""
        return partition_of(order_id) == self._partition

    def _has_the_say(self, known: bool) -> bool:
        """Whether what all partitions tell is taken from the one that is heard now. known: whether one has told it."""
        return not self._partition or not known

    def _handle(self, event: Event) -> None:
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _market_changed(self, event: MarketChanged) -> None:
        if not self._has_the_say(0 in self.epochs):
            return
        self.mode = event.mode
        if self.business_date != event.business_date:
            self.business_date = event.business_date
            for loan in self.loans.values():
                loan.forget_day()

    def _account_changed(self, event: AccountChanged) -> None:
        account = self.accounts.get(event.account_id)
        if account is None:
            account = self.accounts[event.account_id] = AccountView(event)
        elif self._has_the_say(0 in account.exec_seqs):
            account.state = event
        account.exec_seqs.setdefault(self._partition, event.exec_seq)

    def _loan_changed(self, event: LoanChanged) -> None:
        loan_id = event.terms.loan_id
        loan = self.loans.get(loan_id)
        if loan is None:
            loan = self.loans[loan_id] = LoanView(event, lambda: self.business_date, self._partition)
            self._restated[loan_id] = loan
            return
        if replace(loan.state, last_price=event.last_price) != event:
            self._restated[loan_id] = loan
        loan.change(event)

    def _rulebook_changed(self, event: RulebookChanged) -> None:
        if self._has_the_say(event.rulebook.name in self.rulebooks):
            self.rulebooks[event.rulebook.name] = event.rulebook

    def _schedule_changed(self, event: ScheduleChanged) -> None:
        loan = self._restated[event.loan_id] = self.loans[event.loan_id]
        loan.reschedule(event.schedule)

    def _cash_changed(self, event: CashChanged) -> None:
        account = self.accounts[event.account_id]
        if self.partitions == 1:
            account.cash[event.currency] = event
        else:
            self._line_changed(account, event)

    def _line_changed(self, account: AccountView, event: CashChanged) -> None:
        account.lines.setdefault(event.currency, {})[self._partition] = event
        account.add_up(event.currency)

    def _claim_changed(self, event: ClaimChanged) -> None:
        self.accounts[event.account_id].claims[event.loan_id] = event

    def _open_order(self, event: OpenOrder) -> None:
        self.accounts[event.order.account_id].open_orders[event.order.order_id] = event.order

    def _quotes_changed(self, event: QuotesChanged) -> None:
        quotes = self.accounts[event.account_id].quotes
        for quote in event.quotes:
            if quote.status in FINAL_STATUSES:
                quotes.pop(quote.order_id, None)
            else:
                quotes[quote.order_id] = quote

    def _drop_quotes(self, account: AccountView, gone: Sequence[QuoteState]) -> None:
        """From now on only orders hold something. What a quote holds is not told with each change: it is summed up."""
        for quote in gone:
            loan = self.loans[quote.loan_id]
            self._touched_books[quote.loan_id] = self._told
            left = Face(loan.book.total(quote.side, quote.price) - quote.leaves)
            loan.book.apply((LevelChange(quote.side, quote.price, left),))
            del account.quotes[quote.order_id]
        cash, face = Counter[Currency](), Counter[LoanId]()
        for order in account.open_orders.values():
            if order.side is Side.SELL:
                face[order.loan_id] += order.hold
            elif self._is_here(order.order_id):
                cash[order.currency] += order.hold
        for currency in {quote.currency for quote in gone if quote.side is Side.BUY}:
            line = account.cash[currency] if self.partitions == 1 else account.lines[currency][self._partition]
            self._cash_changed(replace(line, held=Minor(cash[currency])))
        for loan_id in {quote.loan_id for quote in gone if quote.side is Side.SELL}:
            account.claims[loan_id] = replace(account.claims[loan_id], held=Face(face[loan_id]))

    def _hold_changed(self, event: HoldChanged) -> None:
        orders = self.accounts[event.account_id].open_orders
        if (order := orders.get(event.order_id)) is not None:
            orders[event.order_id] = replace(order, hold=event.hold)

    def _executed(self, event: Executed) -> None:
        account = self.accounts[event.account_id]
        account.exec_seqs[self._partition] = event.sequence
        for row in event.rows:
            if row.order.order_id >= FIRST_QUOTE_ID:
                continue
            if row.order.status in FINAL_STATUSES:
                account.open_orders.pop(row.order.order_id, None)
            else:
                account.open_orders[row.order.order_id] = row.order

    def _book_changed(self, event: BookChanged) -> None:
        self.loans[event.loan_id].book.apply(event.changes)
        self._touched_books[event.loan_id] = self._told if event.seq is None else event.seq

    def _traded(self, event: Traded) -> None:
        self.loans[event.loan_id].traded(self._at, event)
