"""A deterministic load: command i of a seed is the same in every process, so whoever watches knows what was sent.

Mostly orders around one price; one in eight is a servicing list over several loans, whose holders are all the traders.
"""

import random
from collections.abc import Iterator
from datetime import date

from market.claims.servicing import NewRow, ServicingEvent
from market.commands import (
    AccountKind,
    Command,
    Deposit,
    MassQuote,
    OpenMarket,
    OrderAck,
    PlaceOrder,
    Result,
    ServiceLoan,
    ServicingAck,
)
from market.ids import AccountId, Currency, Minor
from market.orderbook.order import TimeInForce
from tests.builders import DAY, buy, deposit, mass_quote, open_account, quote, register, sell, service, servicing

PRINCIPAL = Minor(10_000_00)
LoadCommand = PlaceOrder | Deposit | ServiceLoan
TRADERS = [f"T{i}" for i in range(8)]
LOANS = [f"L{i}" for i in range(5)]


def genesis() -> list[Command]:
    """Open the market: five loans, eight traders with cash, each with a piece of every loan."""
    commands: list[Command] = [
        OpenMarket(business_date=DAY),
        open_account("HOUSE", AccountKind.HOUSE),
        open_account("ORIG", AccountKind.ORIGINATOR),
        *(register(loan_id, issued=PRINCIPAL) for loan_id in LOANS),
    ]
    for trader in TRADERS:
        commands += [open_account(trader), deposit(trader, 20_000_00)]
        for loan_id in LOANS:
            commands += [
                sell("ORIG", 9_500, 1_000_00, loan_id=loan_id),
                buy(trader, 9_500, 1_000_00, loan_id=loan_id),
            ]
    return commands


def order(seed: int, i: int) -> LoadCommand:
    """Return the i-th command of a seed: small orders around one price, so that about half of them trade."""
    rng = random.Random(f"{seed}/{i}")
    trader = rng.choice(TRADERS)
    if i % 8 == 5:
        return service(*servicing_list(rng, f"{seed}-{i}"))
    if i % 50 == 49:
        return Deposit(
            account_id=AccountId(trader),
            currency=Currency("USD"),
            amount=Minor(rng.randint(1, 100_00)),
            custody_ref=f"{seed}-{i}",
        )
    make = rng.choice([buy, sell])
    return make(
        trader,
        rng.randint(9_490, 9_510),
        rng.randint(100, 5_000),
        loan_id=rng.choice(LOANS),
        client_order_id=f"{seed}-{i}",
        time_in_force=rng.choice([TimeInForce.GTC, TimeInForce.IOC]),
        cancel_on_payment=rng.random() < 0.1,
    )


def servicing_list(rng: random.Random, name: str) -> Iterator[ServicingEvent]:
    """Payments of interest and of principal in advance, and a reschedule that lends the principal anew.

    So each of them is admitted however the ones before went, and the loans live on.
    """
    for n, loan_id in enumerate(rng.sample(LOANS, rng.randint(2, 4))):
        event_id, amount = f"{name}.{n}", rng.randint(1, 3_000)
        if rng.random() < 0.2:
            row = NewRow(due_date=date(2025, 1, 15), interest=Minor(amount), principal=PRINCIPAL)
            yield servicing("reschedule", DAY, loan_id=loan_id, event_id=event_id, schedule=(row,))
        else:
            interest = Minor(amount - rng.randint(0, min(amount, 50)))
            yield servicing("payment", DAY, amount, loan_id=loan_id, event_id=event_id, interest=interest)


def quotes(seed: int, i: int) -> MassQuote:
    """Return a trader's quotes in all loans, around the price of the orders: some trade, most move, none has a name."""
    rng = random.Random(f"{seed}/{i}/quotes")
    wanted = [
        quote((rng.randint(9_480, 9_500), rng.randint(100, 900)), (rng.randint(9_500, 9_520), 500), loan_id)
        for loan_id in LOANS
    ]
    return mass_quote(rng.choice(TRADERS), *wanted)


def name_of(command: LoadCommand) -> str:
    """What a client knows his command by."""
    match command:
        case Deposit():
            return command.custody_ref
        case ServiceLoan():
            return command.events[0].event_id.partition(".")[0]
        case PlaceOrder():
            return str(command.client_order_id)


def answer_of(name: str, result: Result) -> str:
    """Return an answer as one line, `A name order_id status duplicate`. A list is a repeat as a whole or not at all."""
    match result:
        case OrderAck():
            return f"A {name} {result.order_id} {result.order_status} {int(result.duplicate)}"
        case ServicingAck():
            assert len(set(result.duplicates)) == 1, f"{name} was booked by halves: {result}"
            return f"A {name} 0 booked {int(result.duplicates[0])}"
        case _:
            return f"A {name} 0 done {int(getattr(result, 'duplicate', False))}"
