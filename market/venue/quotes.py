"""Mass quotes: many loans' two sides in one command, each side judged by itself, all of it in one turn.

First everything that the command moves leaves its book, then it comes back in the command's order: an account's new bid
never meets its own old ask, and what one quote gives free covers the next. A side that keeps its price without growing
keeps its place. A side that is refused stands nowhere: its owner no longer wants the price that it had.

Quotes obey the rules of orders, but they leave no rows: memory alone knows them, and a rebuild has none. So a side may
live on under one id through any number of prices. What they trade is as durable as any trade.
"""

from market.commands import QUOTES_MAX, CancelQuotes, CountAck, MassQuote, Quote, QuoteAck, QuoteOutcome, Refusal
from market.errors import InvalidArguments, MarketError, MmpFrozen, RuleViolation, SelfTrade
from market.ids import FIRST_QUOTE_ID, Face, OrderId, PriceBp
from market.orderbook.book import Stopped
from market.orderbook.order import CancelReason, Order, OrderStatus, QuoteOf, Side
from market.venue import admission
from market.venue.amounts import hold_of
from market.venue.changes import Changes
from market.venue.lifecycle import end, end_all, forget, reserve, rest, set_hold
from market.venue.matching import Matching
from market.venue.state import Account, Loan, QuoteKey, State
from market.venue.trading import check_amount, check_cover

SIDES_MAX = 20_000  # of one account
FIELDS = {  # of an order, in a quote's words
    Side.BUY: {"limit_price": "bid", "order_qty": "bid_qty"},
    Side.SELL: {"limit_price": "ask", "order_qty": "ask_qty"},
}

Outcome = Refusal | bool | None


def mass_quote(state: State, command: MassQuote, changes: Changes) -> QuoteAck:
    account = state.account(command.account_id)
    admission.check_account(account)
    _check_group(account, command.mmp_group)
    if not 0 < len(command.quotes) <= QUOTES_MAX:
        raise InvalidArguments(f"quotes: from 1 to {QUOTES_MAX}", field="quotes")
    if len({quote.loan_id for quote in command.quotes}) != len(command.quotes):
        raise InvalidArguments("quotes: a symbol stands there twice", field="quotes")
    return _MassQuote(state, account, command, changes).carry_out()


def cancel_quotes(state: State, command: CancelQuotes, changes: Changes) -> CountAck:
    account = state.account(command.account_id)
    loan_ids = None if command.loan_ids is None else frozenset(command.loan_ids)
    chosen = [
        order
        for (loan_id, quote_set, _), order in account.quotes.items()
        if (loan_ids is None or loan_id in loan_ids)
        and (command.quote_set is None or quote_set == command.quote_set)
        and (command.connection is None or (order.quote is not None and order.quote.connection == command.connection))
    ]
    end_all(state, chosen, OrderStatus.CANCELED, command.cause, changes)
    return CountAck(count=0, quotes=len(chosen))


def drop_quotes(state: State) -> None:
    """Forget all quotes, and the fills that protection counts, as a rebuild from the tables does. Nobody is told."""
    for account in state.accounts.values():
        for order in list(account.quotes.values()):
            book = state.loans[order.loan_id].book
            book.remove(order)
            book.take_changes()
            reserve(state, order, -order.hold)
            forget(state, account, order)
        for guard in account.guards.values():
            guard.fills.clear()


def _check_group(account: Account, group: str | None) -> None:
    if group is not None and (guard := account.guards.get(group)) is not None and guard.frozen:
        raise MmpFrozen("market-maker protection was triggered: reset it first", field="mmp_group", group=group)


class _MassQuote:
    """One command under way. coming: sides that are to be placed, with the order that stood for each before."""

    def __init__(self, state: State, account: Account, command: MassQuote, changes: Changes) -> None:
        self.state = state
        self.account = account
        self.command = command
        self.changes = changes
        self.of = QuoteOf(command.quote_set, command.mmp_group, command.session, command.connection)
        self._coming: list[tuple[int, Loan, Side, PriceBp, Face, Order | None]] = []
        self._outcomes: list[list[Outcome]] = []

    def carry_out(self) -> QuoteAck:
        for quote in self.command.quotes:
            self._outcomes.append([None, None])
            self._clear(quote, Side.BUY, quote.bid, quote.bid_quantity)
            self._clear(quote, Side.SELL, quote.ask, quote.ask_quantity)
        for i, loan, side, price, quantity, former in self._coming:
            try:
                self._place(loan, side, price, quantity, former)
                self._outcomes[i][side is Side.SELL] = True
            except MarketError as error:
                self._outcomes[i][side is Side.SELL] = _refusal(error, side)
                if former is not None:
                    former.status = OrderStatus.CANCELED
                    self.changes.quote(former, CancelReason.MMP if type(error) is MmpFrozen else CancelReason.USER)
        return QuoteAck(quotes=tuple(QuoteOutcome(*outcome) for outcome in self._outcomes))

    def _clear(self, quote: Quote, side: Side, price: PriceBp | None, quantity: Face) -> None:
        """Take out what this side of the quote does not leave as it is."""
        key: QuoteKey = (quote.loan_id, self.of.quote_set, side is Side.BUY)
        former = self.account.quotes.get(key)
        i = len(self._outcomes) - 1
        if price is None or quantity == 0:
            if former is not None:
                end(self.state, former, OrderStatus.CANCELED, CancelReason.USER, self.changes)
            return
        try:
            loan = self.state.loan(quote.loan_id)
            if former is not None and former.price == price and 0 < quantity <= former.leaves:
                self._keep(loan, former, quantity)
                self._outcomes[i][side is Side.SELL] = True
                return
        except MarketError as error:
            self._outcomes[i][side is Side.SELL] = _refusal(error, side)
            if former is not None:
                end(self.state, former, OrderStatus.CANCELED, CancelReason.USER, self.changes)
            return
        if former is not None:
            loan.book.remove(former)
            self.changes.book(loan)
            set_hold(loan, self.account, former, 0, self.changes)
            forget(self.state, self.account, former)
        self._coming.append((i, loan, side, price, quantity, former))

    def _keep(self, loan: Loan, order: Order, quantity: Face) -> None:
        """Leave a side where it stands, with no more than it has. Raises what refuses it."""
        admission.check_loan(loan)
        admission.check_mode(self.state.mode, post_only=True)  # what rests does not take
        if quantity < order.leaves:
            admission.check_quantity(loan, quantity, order.price)
            loan.book.reduce(order, Face(order.filled + quantity))
            self.changes.book(loan)
            hold = min(order.hold, hold_of(loan, loan.on(self.state.today), order.side, quantity, order.price))
            set_hold(loan, self.account, order, hold, self.changes)
        elif order.quote == self.of:
            return
        order.quote, order.session = self.of, self.of.session
        order.version += 1
        self.changes.quote(order)

    def _place(self, loan: Loan, side: Side, price: PriceBp, quantity: Face, former: Order | None) -> None:
        """Judge a side as an order would be, then let it trade or rest. Raises what refuses it, before any change."""
        state, account = self.state, self.account
        _check_group(account, self.of.mmp_group)  # a side before this one may have triggered it
        crosses = loan.book.would_cross(side, price)
        admission.check_loan(loan)
        admission.check_mode(state.mode, post_only=not crosses)
        admission.check_price(loan, price)
        admission.check_quantity(loan, quantity, price)
        admission.check_rulebook(loan, state, price)
        if len(account.quotes) >= SIDES_MAX:
            raise RuleViolation("too many quotes", rule="max_quotes")
        check_amount(state, loan, account, side, quantity)
        order = self._moved(former, price, quantity) if former else self._new_order(loan, side, price, quantity)
        order.expire_at = admission.expiry(loan, None, self.changes.at, rests=True)
        hold = check_cover(state, loan, account, order, quantity=quantity)
        if not crosses:
            rest(state, loan, account, order, hold, self.changes)
            self.changes.quote(order)
            return
        matching = Matching(state, loan, account, order, self.changes)
        if matching.plan.stopped is Stopped.STP:
            raise SelfTrade("it would trade with an order of its own owner", field="limit_price")
        self.changes.quote(order)
        matching.execute()

    def _new_order(self, loan: Loan, side: Side, price: PriceBp, quantity: Face) -> Order:
        account, of = self.account, self.of
        return Order(
            order_id=OrderId(FIRST_QUOTE_ID + next(self.changes.numbers)),
            account_id=account.account_id,
            owner=account.owner,
            loan_id=loan.terms.loan_id,
            side=side,
            price=price,
            quantity=quantity,
            priority=0,
            session=of.session,
            created_at=self.changes.at,
            quote=of,
        )

    def _moved(self, order: Order, price: PriceBp, quantity: Face) -> Order:
        """The same side at another price, or with more open: an order that begins anew, under the id that it had."""
        order.price, order.leaves, order.quantity = price, quantity, Face(order.filled + quantity)
        order.quote, order.session = self.of, self.of.session
        order.status = OrderStatus.PARTIALLY_FILLED if order.filled else OrderStatus.NEW
        order.version += 1
        return order


def _refusal(error: MarketError, side: Side) -> Refusal:
    field = None if error.field is None else FIELDS[side].get(error.field, error.field)
    return Refusal(type(error).__name__, str(error), field, tuple(sorted(error.details.items())))
