"""One-line builders of commands and terms for tests: every argument has a plain default."""

from datetime import date
from typing import Any

from market.claims.loan import LoanTerms, RepaymentMethod
from market.claims.servicing import ServicingEvent, ServicingType
from market.commands import (
    AccountKind,
    AmendOrder,
    CancelOrder,
    Command,
    Deposit,
    MassQuote,
    OpenAccount,
    OpenMarket,
    PlaceOrder,
    Quote,
    ReceiveCash,
    RegisterLoan,
    SendCash,
    ServiceLoan,
)
from market.events import LogEntry
from market.ids import AccountId, Currency, Face, LoanId, Minor, Nanos, PriceBp, Seq
from market.orderbook.order import Side
from market.venue.venue import Applied, Venue

LOAN = LoanId("L1")
DAY = date(2024, 1, 15)


def terms(loan_id: str = LOAN, **changed: Any) -> LoanTerms:
    """10,000.00 USD at 12 % over 12 months, annuity, issued on 2024-01-15, nothing repaid."""
    values: dict[str, Any] = {
        "loan_id": LoanId(loan_id),
        "originator": AccountId("ORIG"),
        "currency": Currency("USD"),
        "original_principal": Minor(10_000_00),
        "outstanding_at_registration": Minor(10_000_00),
        "annual_rate_ppm": 120_000,
        "repayment_method": RepaymentMethod.ANNUITY,
        "term_months": 12,
        "issue_date": DAY,
        "first_due_date": date(2024, 2, 15),
        **changed,
    }
    return LoanTerms(**values)


def open_account(account_id: str, kind: AccountKind = AccountKind.INVESTOR, **changed: Any) -> OpenAccount:
    return OpenAccount(account_id=AccountId(account_id), kind=kind, **changed)


def deposit(account_id: str, amount: int, currency: str = "USD", ref: str | None = None) -> Deposit:
    return Deposit(
        account_id=AccountId(account_id),
        currency=Currency(currency),
        amount=Minor(amount),
        custody_ref=ref or f"ref-{account_id}-{amount}-{currency}",
    )


def send_cash(account_id: str, amount: int, to: int, move_id: str, currency: str = "USD") -> SendCash:
    return SendCash(
        account_id=AccountId(account_id), currency=Currency(currency), amount=Minor(amount), to=to, move_id=move_id
    )


def receive_cash(
    account_id: str,
    amount: int,
    sender: int,
    move_id: str,
    currency: str = "USD",
    *,
    sent_seq: int = 0,
    all_before: int = 0,
) -> ReceiveCash:
    return ReceiveCash(
        account_id=AccountId(account_id),
        currency=Currency(currency),
        amount=Minor(amount),
        sender=sender,
        move_id=move_id,
        sent_seq=Seq(sent_seq),
        all_before=Seq(all_before),
    )


def register(loan_id: str = LOAN, issued: int = 10_000_00, **changed: Any) -> RegisterLoan:
    return RegisterLoan(terms=terms(loan_id, **changed), issued_face=Face(issued))


def buy(account_id: str, price: int | None, quantity: int, **changed: Any) -> PlaceOrder:
    return _order(account_id, Side.BUY, price, quantity, changed)


def sell(account_id: str, price: int | None, quantity: int, **changed: Any) -> PlaceOrder:
    return _order(account_id, Side.SELL, price, quantity, changed)


def amend(account_id: str, order_id: int, **changed: Any) -> AmendOrder:
    return AmendOrder(account_id=AccountId(account_id), order_id=order_id, **changed)  # type: ignore[arg-type]


def cancel(account_id: str, order_id: int) -> CancelOrder:
    return CancelOrder(account_id=AccountId(account_id), order_id=order_id)  # type: ignore[arg-type]


Wanted = tuple[int, int] | None  # price and quantity


def quote(bid: Wanted, ask: Wanted, loan_id: str = LOAN) -> Quote:
    (bid_price, bid_quantity), (ask_price, ask_quantity) = bid or (None, 0), ask or (None, 0)
    return Quote(
        LoanId(loan_id),
        None if bid_price is None else PriceBp(bid_price),
        Face(bid_quantity),
        None if ask_price is None else PriceBp(ask_price),
        Face(ask_quantity),
    )


def mass_quote(account_id: str, *quotes: Quote, **changed: Any) -> MassQuote:
    values: dict[str, Any] = {"quote_set": "q", "connection": "c-1", **changed}
    return MassQuote(account_id=AccountId(account_id), quotes=quotes, **values)


def servicing(kind: str, on: date, amount: int | None = None, **given: Any) -> ServicingEvent:
    """An event of LOAN, unless loan_id says otherwise; its id is made of what it says, unless event_id is given."""
    loan_id = LoanId(given.pop("loan_id", LOAN))
    event_id = given.pop("event_id", f"{loan_id}-{kind}-{on}-{amount}")
    paid = None if amount is None else Minor(amount)
    return ServicingEvent(
        event_id=event_id, loan_id=loan_id, type=ServicingType(kind), value_date=on, amount=paid, **given
    )


def service(*events: ServicingEvent) -> ServiceLoan:
    return ServiceLoan(events=events)


def _order(account_id: str, side: Side, price: int | None, quantity: int, changed: dict[str, Any]) -> PlaceOrder:
    return PlaceOrder(
        account_id=AccountId(account_id),
        loan_id=LoanId(changed.pop("loan_id", LOAN)),
        side=side,
        quantity=Face(quantity),
        price=None if price is None else PriceBp(price),
        **changed,
    )


class Market:
    """A venue with a clock of its own: one call per command. Starts with a house, an originator and one loan."""

    def __init__(self, *, loans: tuple[str, ...] = (LOAN,), day: date = DAY, partition: int = 0, **loan: Any) -> None:
        self.venue = Venue(partition)
        self.at = Nanos(1_700_000_000_000_000_000)
        self.do(OpenMarket(business_date=day))
        self.do(open_account("HOUSE", AccountKind.HOUSE))
        self.do(open_account("ORIG", AccountKind.ORIGINATOR))
        for loan_id in loans:
            self.do(register(loan_id, **loan))

    def do(self, command: Command) -> Applied:
        self.at = Nanos(self.at + 1)
        return self.venue.apply(Seq(self.venue.seq + 1), self.at, command)

    def entry(self, command: Command) -> LogEntry:
        """Carry out a command; return its line of the log."""
        applied = self.do(command)
        return LogEntry(
            seq=self.venue.seq,
            at=self.at,
            actor="test",
            command=command,
            events=applied.events,
            result=applied.result,
        )

    def investor(self, account_id: str, cash: int = 0, currency: str = "USD", **changed: Any) -> None:
        self.do(open_account(account_id, **changed))
        if cash:
            self.do(deposit(account_id, cash, currency))

    def cash(self, account_id: str, currency: str = "USD") -> tuple[int, int]:
        """(total, held)"""
        cash = self.venue.state.accounts[AccountId(account_id)].cash[Currency(currency)]
        return cash.total, cash.held

    def claim(self, account_id: str, loan_id: str = LOAN) -> tuple[int, int]:
        """(total, held)"""
        claim = self.venue.state.accounts[AccountId(account_id)].claims[LoanId(loan_id)]
        return claim.total, claim.held
