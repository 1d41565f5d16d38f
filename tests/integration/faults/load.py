"""A deterministic load: order i of a seed is the same in every process, so whoever watches knows what was sent."""

import random

from market.commands import AccountKind, Command, Deposit, OpenMarket, PlaceOrder
from market.ids import AccountId, Currency, Minor
from market.orderbook.order import TimeInForce
from tests.builders import DAY, buy, deposit, open_account, register, sell

TRADERS = [f"T{i}" for i in range(8)]
LOANS = [f"L{i}" for i in range(5)]


def genesis() -> list[Command]:
    """Open the market: five loans, eight traders with cash, each with a piece of every loan."""
    commands: list[Command] = [
        OpenMarket(business_date=DAY),
        open_account("HOUSE", AccountKind.HOUSE),
        open_account("ORIG", AccountKind.ORIGINATOR),
        *(register(loan_id, issued=10_000_00) for loan_id in LOANS),
    ]
    for trader in TRADERS:
        commands += [open_account(trader), deposit(trader, 20_000_00)]
        for loan_id in LOANS:
            commands += [
                sell("ORIG", 9_500, 1_000_00, loan_id=loan_id),
                buy(trader, 9_500, 1_000_00, loan_id=loan_id),
            ]
    return commands


def order(seed: int, i: int) -> PlaceOrder | Deposit:
    """Return the i-th command of a seed: small orders around one price, so that about half of them trade."""
    rng = random.Random(f"{seed}/{i}")
    trader = rng.choice(TRADERS)
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
    )


def name_of(command: PlaceOrder | Deposit) -> str:
    """What a client knows his command by."""
    return command.custody_ref if isinstance(command, Deposit) else str(command.client_order_id)
