"""Readers that do not read, channel by channel: what waits for them is bounded, and then leads to what is."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.ws.feeds import INSTRUMENTS_PER_MESSAGE
from gateway.ws.outbox import OutboxLimits
from gateway.ws.routes import GATE
from gateway.ws.session import SocketLimits
from market.commands import HaltLoan
from market.ids import LoanId
from tests.builders import buy, register, sell
from tests.e2e.sockets import Json, RawSocket, Socket, connected, login_params
from tests.e2e.stack import Stack, running_stack

SMALL = SocketLimits(outbox=OutboxLimits(backlog_bytes_max=64 << 10, conflate_bytes=8 << 10, behind_s_max=60.0))
LOANS = 3 * INSTRUMENTS_PER_MESSAGE
SYMBOLS = ["L1/USD", "L2/USD"]


@pytest.fixture
async def stack(database: str) -> AsyncIterator[Stack]:
    async with running_stack(database, limits=SMALL) as running:
        yield running


def backlog(stack: Stack) -> int:
    return max(session.outbox.backlog for session in stack.hub.sessions)


async def move(mm: Socket, tick: int) -> None:
    row = {"bid": f"97.{tick % 100:02}", "bid_qty": "1.00", "ask": f"99.{tick % 100:02}", "ask_qty": "1.00"}
    told = await mm.call("mass_quote", quotes=[{"symbol": symbol, **row} for symbol in SYMBOLS])
    assert told["result"]["accepted"] == 4


async def test_quotes_are_merged_into_a_snapshot_of_those_that_stand(stack: Stack) -> None:
    key = await stack.investor("MM")
    for loan_id in ("L1", "L2"):
        await stack.do(sell("ORIG", 10_000, 100_00, loan_id=loan_id), buy("MM", 10_000, 100_00, loan_id=loan_id))
    slow = await RawSocket.open(stack.ws_url)
    greeting = await slow.message()
    slow.send({"method": "login", "params": login_params(greeting, key), "req_id": 1})
    slow.send({"method": "subscribe", "params": {"channel": "quotes"}, "req_id": 2})
    await slow.until(lambda m: m.get("channel") == "quotes")
    async with connected(stack.ws_url, key) as mm:
        most = 0
        for tick in range(300):
            await move(mm, tick)
            most = max(most, backlog(stack))
        assert (8 << 10) < most < (64 << 10)
        told = await slow.until(lambda m: m.get("channel") == "quotes" and m["type"] == "snapshot")
        assert all(row["conflated"] > 0 for row in told["data"])
        prices = {(row["symbol"], row["side"], row["price"]) for row in told["data"]}
        assert prices == {(s, side, p) for s in SYMBOLS for side, p in (("buy", "97.99"), ("sell", "99.99"))}
        await move(mm, 50)
        live = await slow.until(lambda m: m.get("channel") == "quotes")
        assert live["type"] == "update"
        assert ("buy", "97.50") in {(row["side"], row["price"]) for row in live["data"]}


async def test_a_board_is_merged_into_what_is_other_than_it_was(stack: Stack) -> None:
    slow = await RawSocket.open(stack.ws_url)
    slow.send({"method": "subscribe", "params": {"channel": "board", "sort": "price"}, "req_id": 1})
    rows: dict[str, Json] = {}

    def take(message: Json) -> bool:
        """Whether the best offers of both loans are the last ones."""
        if message.get("channel") != "board":
            return False
        for row in message["data"]:
            merged.append(row.pop("conflated", 0))
            if row.get("removed"):
                rows.pop(row["loan_id"])
            else:
                rows[row["loan_id"]] = row
        return [rows.get(loan_id, {}).get("ask") for loan_id in ("L1", "L2")] == ["99.40", "99.40"]

    merged: list[int] = []
    await slow.until(lambda m: m.get("channel") == "board")
    most, boards = 0, stack.app[GATE].boards
    for n in range(60):
        for loan_id in ("L1", "L2"):
            await stack.do(sell("ORIG", 9_999 - n, 1_00, loan_id=loan_id))
        await boards.tick()
        most = max(most, backlog(stack))
    assert (8 << 10) < most < (64 << 10)
    await slow.until(take)
    assert max(merged) > 1


async def test_a_reader_of_all_instruments_is_told_as_it_reads(stack: Stack) -> None:
    """A snapshot of many loans does not wait in the service as a whole, and what changes meanwhile is not lost."""
    await asyncio.gather(*(stack.do(register(f"M{n:03}")) for n in range(LOANS)))
    slow = await RawSocket.open(stack.ws_url)
    slow.send({"method": "subscribe", "params": {"channel": "instrument"}, "req_id": 1})
    await slow.until(lambda m: m.get("method") == "subscribe")
    assert backlog(stack) < 200 << 10, "a message of a hundred loans and what the limits allow"
    changed = [LoanId("M000"), LoanId(f"M{LOANS - 1:03}")]
    for loan_id in changed:
        await stack.do(HaltLoan(loan_id=loan_id, halted=True))
    assert backlog(stack) < 200 << 10
    halted: dict[str, bool] = {}

    def take(message: Json) -> bool:
        """Whether every loan is known as it is."""
        if message.get("channel") == "instrument":
            halted.update((row["loan_id"], row["halted"]) for row in message["data"])
        return len(halted) == LOANS + 2 and all(halted[loan_id] for loan_id in changed)

    await slow.until(take)


async def test_after_a_rebuild_a_reader_of_all_instruments_is_told_all_of_them_anew(stack: Stack) -> None:
    await asyncio.gather(*(stack.do(register(f"M{n:03}")) for n in range(LOANS)))
    async with connected(stack.ws_url) as socket:
        await socket.call("subscribe", channel="instrument", snapshot=False)
        epoch = stack.views.epoch
        await stack.cut_engine_off()
        known: set[str] = set()
        while len(known) < LOANS + 2:
            message = await socket.push("instrument")
            assert len(message["data"]) <= INSTRUMENTS_PER_MESSAGE
            known.update(row["loan_id"] for row in message["data"])
        assert stack.views.epoch > epoch
