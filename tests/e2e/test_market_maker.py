"""The example market-maker against the real service: trades, events and a restart find it quoting as it wants."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.client import ApiKey, Client, Json, units
from gateway.demo.market_maker import Curve, CurveMaker
from gateway.demo.traders import Tally, listed_loans
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
        async with asyncio.timeout(30):
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


async def test_it_quotes_and_follows_its_inventory_events_and_a_restart(tmp_path: Path) -> None:
    with running_service(tmp_path, "--business-date", DAY) as first:
        keys = await set_up(first)
        async with first.client() as admin, Client(first.url, keys["ORIG"]) as originator:
            for n in (1, 2):
                await originator.post("/v1/orders", limit(f"L{n}", "sell", "90.00", "400.00", f"offer-{n}"))
            loans = await listed_loans(admin, count=2, seed=1)
        maker = CurveMaker(
            Client(first.url, keys["MM"]),
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
            assert first.stop() == 0
            with running_service(tmp_path, port=port) as second:
                async with second.client() as admin:
                    await book(admin, two_sided)
                    await book(admin, two_sided, "L2")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
