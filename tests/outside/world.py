"""The market that outside programs meet: a few loans with deep books, and somebody who never stops trading in them."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from gateway.client import ApiKey, Client, Json, Socket
from tests.service import Service

LOANS = [f"OUT-{n:03d}" for n in range(1, 11)]
CURRENCY = "USD"
SYMBOLS = [f"{loan_id}/{CURRENCY}" for loan_id in LOANS]
BUSINESS_DATE = "2024-01-20"
PAR = 10_000
ORDERS_PER_TURN = 20
TURN_S = 0.02
NOISE = "noise"


@dataclass(frozen=True, slots=True)
class World:
    """trader: the key that outside programs use; all_scopes: the same account's, for those that try everything.

    maker, taker: who make the noise.
    """

    url: str
    trader: ApiKey
    all_scopes: ApiKey
    maker: ApiKey
    taker: ApiKey


async def prepare(service: Service) -> World:
    """Register the loans and the accounts, and lay out books that never run empty."""
    async with service.client() as admin:
        for account_id, kind in (("ORIG", "originator"), ("TAKER", "investor"), ("TRADER", "investor")):
            await admin.post("/v1/admin/accounts", {"account_id": account_id, "kind": kind})
            deposit = {"account_id": account_id, "currency": CURRENCY, "amount": "100000000.00"}
            await admin.post("/v1/admin/deposits", deposit | {"custody_ref": f"bank-{account_id}"})
        for loan_id in LOANS:
            await admin.post("/v1/admin/loans", loan(loan_id))
        maker, taker, trader = [await _key(admin, name, "read", "trade") for name in ("ORIG", "TAKER", "TRADER")]
        all_scopes = await _key(admin, "TRADER", "read", "trade", "transfer", "admin")
    world = World(service.url, trader, all_scopes, maker, taker)
    async with Client(world.url, maker) as seller, Client(world.url, taker) as buyer:
        for loan_id in LOANS:
            asks = [order(loan_id, "sell", PAR + 300 + 10 * n, 1_000_00) for n in range(15)]
            bids = [order(loan_id, "buy", PAR - 900 - 10 * n, 1_000_00) for n in range(15)]
            await seller.post("/v1/orders/batch", {"orders": asks})
            await buyer.post("/v1/orders/batch", {"orders": bids})
            await buyer.post("/v1/orders/batch", {"orders": [order(loan_id, "buy", PAR + 300, 10_00)] * 5})
    return world


async def _key(admin: Client, account_id: str, *scopes: str) -> ApiKey:
    made = await admin.post(f"/v1/admin/accounts/{account_id}/api-keys", {"scopes": list(scopes)})
    return ApiKey(made["key"], made["secret"])


def loan(loan_id: str) -> Json:
    return {
        "loan_id": loan_id,
        "originator": "ORIG",
        "currency": CURRENCY,
        "original_principal": "10000000.00",
        "issued_face": "10000000.00",
        "annual_rate": "0.12",
        "repayment_method": "annuity",
        "term_months": 12,
        "issue_date": "2024-01-15",
        "first_due_date": "2024-02-15",
    }


def order(loan_id: str, side: str, price_bp: int, face: int, **more: str) -> Json:
    price, qty = f"{price_bp / 100:.2f}", f"{face / 100:.2f}"
    return {"loan_id": loan_id, "side": side, "limit_price": price, "order_qty": qty, **more}


@asynccontextmanager
async def noise(world: World, seed: int = 1) -> AsyncIterator[None]:
    """Let books move and trades happen while the body runs: some hundred orders a second."""
    stop = asyncio.Event()
    trading = asyncio.create_task(_trade(world, random.Random(seed), stop))
    try:
        yield
    finally:
        stop.set()
        await trading


async def _trade(world: World, rng: random.Random, stop: asyncio.Event) -> None:
    """Sell and buy around par, and now and then take everything back that rests near it."""
    async with AsyncExitStack() as stack:
        sides: list[tuple[str, int, Socket]] = []
        for side, key, low in (("sell", world.maker, PAR - 60), ("buy", world.taker, PAR - 240)):
            client = await stack.enter_async_context(Client(world.url, key))
            socket = await stack.enter_async_context(await client.socket())
            await socket.login()
            sides.append((side, low, socket))
        for turn in itertools.count():
            for side, low, socket in sides:
                orders = [
                    order(rng.choice(LOANS), side, low + rng.randint(0, 300), rng.randint(1_00, 90_00), tag=NOISE)
                    for _ in range(ORDERS_PER_TURN)
                ]
                await socket.call("batch_add", orders=[symbolic(each) for each in orders])
                if turn % 50 == 49:
                    await socket.call("cancel_all", tag=NOISE)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), TURN_S)
            if stop.is_set():
                return


def symbolic(order: Json) -> Json:
    """Return an order as the socket takes it."""
    loan_id = order["loan_id"]
    return {**{k: v for k, v in order.items() if k != "loan_id"}, "symbol": f"{loan_id}/{CURRENCY}"}
