"""The example market-maker against the real service: trades, events and a restart find it quoting as it wants."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.client import ApiKey, Client, Json, units
from gateway.demo import market_maker
from gateway.demo.curve import Curve
from gateway.demo.market_maker import CurveMaker
from gateway.demo.traders import Tally, listed_loans
from gateway.process.config import Settings
from market.commands import HaltLoan
from market.ids import LoanId
from market.orderbook.order import TimeInForce
from tests.builders import buy, deposit, open_account, sell
from tests.e2e.stack import Stack, running_stack
from tests.patience import PATIENCE_S, until
from tests.service import Service, running_service

DAY = "2024-01-15"
LOAN: Json = {
    "originator": "ORIG",
    "currency": "USD",
    "original_principal": "10000.00",
    "issued_face": "10000.00",
    "annual_rate": "0.12",
    "repayment_method": "annuity",
    "term_months": 12,
    "issue_date": DAY,
    "first_due_date": "2024-02-15",
    "outstanding_principal": "10000.00",
    "status": "current",
    "grade": "B",
    "claim_type": "unsecured",
}


async def set_up(service: Service) -> dict[str, ApiKey]:
    async with service.client() as admin:
        for account, kind in (("ORIG", "originator"), ("MM", "market_maker"), ("TAKER", "investor")):
            await admin.post("/v1/admin/accounts", {"account_id": account, "kind": kind, "name": account})
            cash = {"account_id": account, "currency": "USD", "amount": "1000000.00", "custody_ref": f"in-{account}"}
            await admin.post("/v1/admin/deposits", cash)
        for n in (1, 2):
            await admin.post("/v1/admin/loans", {"loan_id": f"L{n}", **LOAN})
        keys = {}
        for account in ("ORIG", "MM", "TAKER"):
            made = await admin.post(f"/v1/admin/accounts/{account}/api-keys", {"scopes": ["read", "trade"]})
            keys[account] = ApiKey(made["key"], made["secret"])
    return keys


def limit(loan_id: str, side: str, price: str, qty: str, cl_ord_id: str, tif: str = "gtc") -> Json:
    order = {"loan_id": loan_id, "side": side, "order_type": "limit", "limit_price": price, "order_qty": qty}
    return {**order, "time_in_force": tif, "cl_ord_id": cl_ord_id}


async def book(client: Client, wanted: Callable[[Json], bool], loan_id: str = "L1") -> Json:
    """Return the loan once it is as wanted."""
    loan: Any = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not wanted(loan := await client.get(f"/v1/loans/{loan_id}")):
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"still {loan}")
    return loan  # type: ignore[no-any-return]


def settled(maker: CurveMaker, loan_id: str, owned: int) -> bool:
    """Whether it owns so much of a loan, and its bid stands where it wants it."""
    bid = maker.standing.get((f"{loan_id}/USD", "buy"), {}).get("price")
    return maker.owned.get(loan_id) == owned and bid == maker.wanted(maker.by_id[loan_id]).get("bid")


def two_sided(loan: Json) -> bool:
    return loan["bid"] is not None and loan["ask"] is not None


async def test_it_quotes_and_follows_its_inventory_events_and_a_crash(tmp_path: Path) -> None:
    with running_service(tmp_path, "--business-date", DAY) as first:
        keys = await set_up(first)
        async with first.client() as admin, Client(first.url, keys["ORIG"]) as originator:
            for n in (1, 2):
                await originator.post("/v1/orders", limit(f"L{n}", "sell", "90.00", "400.00", f"offer-{n}"))
            loans = await listed_loans(admin, count=2, seed=1)
        maker = CurveMaker(
            first.url,
            keys["MM"],
            name="MM",
            loans=loans,
            tally=Tally(),
            rate=20,
            seed=1,
            curve=Curve({"B": 0.20}),
        )
        running = asyncio.create_task(maker.run())
        try:
            async with first.client() as admin, Client(first.url, keys["TAKER"]) as taker:
                before = await book(admin, lambda loan: two_sided(loan) and settled(maker, "L1", 400_00))
                quoted = await book(admin, lambda loan: two_sided(loan) and settled(maker, "L2", 400_00), "L2")
                await taker.post("/v1/orders", limit("L2", "buy", quoted["ask"], "100.00", "hit-1", "ioc"))
                await book(admin, lambda loan: two_sided(loan) and settled(maker, "L2", 300_00), "L2")
                moved = await admin.get("/v1/loans/L2")
                assert units(moved["bid"]) > units(quoted["bid"]), "less inventory, higher prices"
                assert units(moved["ask"]) > units(quoted["ask"])
                paid = {"event_id": "e1", "loan_id": "L1", "type": "payment", "amount": "888.49"}
                await admin.post("/v1/admin/day-roll", {"to": "2024-02-15"})
                await admin.post("/v1/admin/servicing", {**paid, "value_date": "2024-02-15"})
                after = await book(
                    admin, lambda loan: two_sided(loan) and (loan["bid"], loan["ask"]) != (before["bid"], before["ask"])
                )
                assert after["outstanding_principal"] != before["outstanding_principal"]
            port = int(first.url.rpartition(":")[2])
            first.stop(signal.SIGKILL)
            with running_service(tmp_path, port=port) as second:
                async with second.client() as admin:
                    await book(admin, lambda loan: two_sided(loan) and settled(maker, "L1", 400_00))
                    await book(admin, lambda loan: two_sided(loan) and settled(maker, "L2", 300_00), "L2")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def quoting(stack: Stack) -> AsyncIterator[CurveMaker]:
    """The originator's claims in L1 and L2, made a market of."""
    await stack.do(deposit("ORIG", 1_000_000_00))
    key = await stack.key("ORIG")
    async with Client(stack.url) as anyone:
        loans = await listed_loans(anyone, count=2, seed=1)
    names = {"name": "ORIG", "loans": loans, "tally": Tally(), "rate": 0.001, "seed": 1}
    maker = CurveMaker(stack.url, key, curve=Curve.of(loans), **names)
    running = asyncio.create_task(maker.run())
    try:
        await until(lambda: maker.standing and maker.is_settled)
        yield maker
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def take(stack: Stack, maker: CurveMaker, quantity: int, loan_id: str = "L1") -> None:
    ask = units(maker.standing[f"{loan_id}/USD", "sell"]["price"])
    await stack.do(buy("TAKER", ask, quantity, loan_id=loan_id, time_in_force=TimeInForce.IOC))


async def test_after_its_protection_fired_it_stays_out_then_quotes_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_maker, "PROTECTION", {"max_fills": 1, "window_ms": 60_000})
    monkeypatch.setattr(market_maker, "PROTECTED_S", 0.1)
    await stack.do(open_account("TAKER"), deposit("TAKER", 10_000_00))
    async with quoting(stack) as maker:
        await take(stack, maker, 10_00)
        await until(lambda: maker.tally.refused["mmp_frozen"])
        assert stack.views.account("ORIG").quotes == {}, "all were pulled"
        await until(lambda: len(maker.standing) == 4 and maker.is_settled)


async def test_a_trade_moves_the_prices_of_all_loans_of_the_grade(stack: Stack) -> None:
    await stack.do(open_account("TAKER"), deposit("TAKER", 10_000_00))
    await stack.do(sell("ORIG", 9_900, 2_000_00), buy("TAKER", 9_900, 2_000_00))
    async with quoting(stack) as maker:
        before = units(maker.standing["L2/USD", "sell"]["price"])
        for _ in range(10):
            frames, bid = maker.frames, units(maker.standing["L1/USD", "buy"]["price"])
            await stack.do(sell("TAKER", bid, 100_00, time_in_force=TimeInForce.IOC))
            await until(lambda frames=frames: maker.frames > frames and maker.is_settled)
        assert units(maker.standing["L2/USD", "sell"]["price"]) < before, "somebody takes less than it thought right"


async def test_what_a_rate_limit_refuses_is_quoted_a_little_later(database: str) -> None:
    settings = Settings(rate_orders_per_s=1, rate_burst_s=1)
    async with running_stack(database, settings=settings) as stack:
        await stack.do(open_account("TAKER"), deposit("TAKER", 10_000_00))
        async with quoting(stack) as maker:
            for _ in range(3):
                filled = maker.frames
                await take(stack, maker, 10_00)
                await until(lambda filled=filled: maker.frames > filled and maker.is_settled)
            assert maker.tally.refused["rate_limited"] > 0


async def test_a_halted_loan_is_left_alone_until_it_trades_again(stack: Stack) -> None:
    async with quoting(stack) as maker:
        await stack.do(HaltLoan(loan_id=LoanId("L1"), halted=True))
        await until(lambda: maker.wanted(maker.by_id["L1"]) == {"symbol": "L1/USD"})
        await stack.do(HaltLoan(loan_id=LoanId("L1"), halted=False))
        await until(lambda: len(maker.wanted(maker.by_id["L1"])) == 5 and maker.is_settled)
        assert len(maker.standing) == 4
