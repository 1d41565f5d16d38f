"""The façade's reports: what orders paid, how many there are, the ledger, what was traded; and edited orders."""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from market.commands import AssignRulebook, DefineRulebook
from market.ids import LoanId
from market.venue.rulebook import OPEN, FeeRule
from tests.builders import buy, sell
from tests.e2e.stack import Stack
from tests.e2e.test_facade import L1, L2, ORDER, Client

Json = dict[str, Any]


@pytest.fixture
async def anyone(stack: Stack) -> AsyncIterator[Client]:
    """L1 costs the buyer 0.5 % and the seller 1 % of the clean amount; L2 costs nothing."""
    dear = replace(OPEN, name="dear", buyer_fee=FeeRule(rate_ppm=5_000), seller_fee=FeeRule(rate_ppm=10_000))
    await stack.do(DefineRulebook(rulebook=dear), AssignRulebook(loan_id=LoanId("L1"), rulebook="dear"))
    async with aiohttp.ClientSession() as http:
        yield Client(stack.url, http)


@pytest.fixture
async def buyer(stack: Stack, anyone: Client) -> Client:
    return anyone.of(await stack.investor("B"))


@pytest.fixture
async def seller(stack: Stack, anyone: Client) -> Client:
    return anyone.of(await stack.key("ORIG"))


async def test_an_order_tells_what_it_paid(stack: Stack, buyer: Client, seller: Client) -> None:
    await buyer.ok("AddOrder", **ORDER)  # rests and is filled twice
    for volume in ("30", "20"):
        await seller.ok("AddOrder", pair=L1, type="sell", ordertype="limit", volume=volume, price="98")
    [(txid, mine)] = (await buyer.ok("OpenOrders"))["open"].items()
    assert (mine["cost"], mine["fee"], "trades" in mine) == ("49.00", "0.25", False)  # 0.15 and 0.10
    assert (await buyer.ok("QueryOrders", txid=txid, trades="true"))[txid]["trades"] == ["T-2", "T-1"][::-1]
    closed = (await seller.ok("ClosedOrders"))["closed"]
    assert [order["fee"] for order in closed.values()] == ["0.20", "0.29"]
    unfilled = await buyer.ok("AddOrder", **(ORDER | {"price": "90"}))
    assert (await buyer.ok("QueryOrders", txid=unfilled["txid"][0]))[unfilled["txid"][0]]["fee"] == "0.00"


async def test_pages_count_all_that_there_are(stack: Stack, buyer: Client) -> None:
    for n in range(3):
        await buyer.ok("AddOrder", **ORDER, userref=str(n % 2), cl_ord_id=f"c-{n}")
    await buyer.ok("CancelAll")
    await stack.do(sell("ORIG", 9_900, 3_00), buy("B", 9_900, 1_00), buy("B", 9_900, 2_00))
    told = await buyer.ok("ClosedOrders")
    assert (told["count"], len(told["closed"])) == (5, 5)
    assert (await buyer.ok("ClosedOrders", ofs=4))["count"] == 5
    told = await buyer.ok("ClosedOrders", userref="0")
    assert (told["count"], {row["cl_ord_id"] for row in told["closed"].values()}) == (2, {"c-0", "c-2"})
    assert (await buyer.ok("ClosedOrders", cl_ord_id="c-1"))["count"] == 1
    assert "count" not in await buyer.ok("ClosedOrders", without_count="true")
    assert (await buyer.ok("TradesHistory", ofs=1))["count"] == 2
    assert (await buyer.ok("TradesHistory", end="1"))["count"] == 0
    assert "count" not in await buyer.ok("TradesHistory", without_count="true")


async def test_the_ledger_leads_to_the_balances(stack: Stack, buyer: Client, seller: Client) -> None:
    await stack.do(sell("ORIG", 9_800, 100_00), buy("B", 9_800, 100_00), sell("B", 9_700, 40_00))
    await seller.ok("AddOrder", pair=L1, type="buy", ordertype="limit", volume="40", price="97")
    told = await buyer.ok("Ledgers")
    rows = list(told["ledger"].values())
    assert told["count"] == len(rows) == 5
    assert [(row["asset"], row["type"], row["amount"], row["fee"], row["balance"]) for row in rows] == [
        ("USD", "trade", "38.80", "0.39", "999939.92"),  # 38.80 less 1 %
        ("L1", "trade", "-40.00", "0.00", "60.00"),
        ("USD", "trade", "-98.00", "0.49", "999901.51"),
        ("L1", "trade", "100.00", "0.00", "100.00"),
        ("USD", "deposit", "1000000.00", "0.00", "1000000.00"),
    ]
    assert (rows[0]["refid"], rows[-1]["refid"][:4]) == ("T-2", "ref-")
    balances = await buyer.ok("Balance")
    for asset in ("USD", "L1"):
        mine = [row for row in rows if row["asset"] == asset]
        assert balances[asset] == mine[0]["balance"]
        assert Decimal(balances[asset]) == sum(Decimal(row["amount"]) - Decimal(row["fee"]) for row in mine)


async def test_the_ledger_is_asked_for_in_part(stack: Stack, buyer: Client, seller: Client) -> None:
    await stack.do(sell("ORIG", 9_800, 3_00), *(buy("B", 9_800, 1_00) for _ in range(3)))
    told = await buyer.ok("Ledgers", asset="L1", type="trade")
    assert (told["count"], [row["balance"] for row in told["ledger"].values()]) == (3, ["3.00", "2.00", "1.00"])
    assert await buyer.ok("Ledgers", asset="L1", ofs=2, without_count="true") == {
        "ledger": dict(list(told["ledger"].items())[2:])
    }
    assert (await buyer.ok("Ledgers", type="staking"))["count"] == 0
    assert (await buyer.ok("Ledgers", type="deposit"))["count"] == 1
    assert (await buyer.ok("Ledgers", end="1"))["count"] == 0
    assert (await buyer.post("Ledgers", type="gift"))["error"][0] == "EGeneral:Invalid arguments:type"
    [first, second, *_] = told["ledger"]
    assert await buyer.ok("QueryLedgers", id=f"{second},x,{first}") == dict(list(told["ledger"].items())[:2])
    assert await seller.ok("QueryLedgers", id=first) != await buyer.ok("QueryLedgers", id=first)
    assert (await buyer.post("QueryLedgers"))["error"][0] == "EGeneral:Invalid arguments:id"


async def test_what_was_traded_in_thirty_days(stack: Stack, buyer: Client) -> None:
    assert await buyer.ok("TradeVolume") == {"currency": "USD", "volume": "0.00"}
    await stack.do(sell("ORIG", 9_800, 100_00), buy("B", 9_800, 100_00))
    told = await buyer.ok("TradeVolume", pair=f"{L1},{L2}")
    assert (told["currency"], told["volume"]) == ("USD", "98.00")
    assert {pair: row["fee"] for pair, row in told["fees"].items()} == {L1: "1.0000", L2: "0.0000"}
    assert told["fees_maker"] == told["fees"]
    assert (await buyer.post("TradeVolume", pair="L9/USD"))["error"][0] == "EQuery:Unknown asset pair"


async def test_the_best_prices_of_late(stack: Stack, anyone: Client, buyer: Client) -> None:
    told = await anyone.public("Spread", pair=L1)
    assert [row[1:] for row in told[L1]] == [[None, None]]
    await stack.do(buy("B", 9_700, 1_00))
    await stack.do(sell("ORIG", 9_900, 1_00))
    await stack.do(buy("B", 9_650, 1_00))  # behind the best: nothing new
    await stack.do(buy("B", 9_710, 1_00))
    told = await anyone.public("Spread", pair=L1, since=told["last"])
    assert [row[1:] for row in told[L1]][-3:] == [["97.00", None], ["97.00", "99.00"], ["97.10", "99.00"]]
    assert told["last"] == told[L1][-1][0]
    assert (await anyone.public("Spread", pair=L1, since=told["last"] + 1))[L1] == []
    assert (await anyone.get("Spread", pair="L9/USD"))["error"][0] == "EQuery:Unknown asset pair"


async def test_an_order_is_edited_in_place(stack: Stack, buyer: Client) -> None:
    [txid] = (await buyer.ok("AddOrder", **ORDER, userref="7"))["txid"]
    told = await buyer.ok("EditOrder", txid=txid, pair=L1, volume="80", price="98.5")
    assert told == {
        **{"status": "ok", "txid": txid, "originaltxid": txid, "volume": "80.00", "price": "98.50", "price2": "0"},
        **{"orders_cancelled": 0, "descr": {"order": "buy 80.00 L1/USD @ limit 98.50"}},
    }
    told = await buyer.ok("EditOrder", txid="7", pair=L1, price="98.25")
    assert (told["txid"], told["volume"], told["price"]) == (txid, "80.00", "98.25")
    await buyer.ok("AddOrder", **ORDER, userref="7")
    for fields, said in (
        ({"txid": "7"}, "EGeneral:Invalid arguments:txid"),
        ({"txid": "8"}, "EOrder:Unknown order"),
        ({"txid": txid, "pair": L2}, "EOrder:Unknown order"),
        ({"txid": txid, "pair": "L9/USD"}, "EQuery:Unknown asset pair"),
        ({"txid": txid, "oflags": "post"}, "EGeneral:Invalid arguments:oflags"),
        ({"txid": txid, "volume": "0"}, "EGeneral:Invalid arguments:volume"),
    ):
        assert (await buyer.post("EditOrder", **{"pair": L1, **fields}))["error"][0] == said
    await buyer.ok("CancelOrder", txid=txid)
    assert (await buyer.post("EditOrder", txid=txid, pair=L1, volume="9"))["error"] == ["EOrder:Unknown order"]
