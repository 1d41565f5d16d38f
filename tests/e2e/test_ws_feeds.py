"""Public and private streams: snapshots that join without a hole, order on one socket, rows as published."""

import asyncio
import random
from datetime import date
from typing import Any

import pytest

from gateway.client import ApiKey, Book
from market.commands import CancelAll, HaltLoan, Mode, RollDay, SetMode
from market.errors import MarketError
from market.ids import AccountId, LoanId
from tests.builders import buy, sell
from tests.e2e.rest import Market
from tests.e2e.sockets import Json, Socket, connected, follow, order
from tests.e2e.stack import Stack
from tests.e2e.traders import Traders

L1 = "L1/USD"
DEPTHS = (10, 25, 100, 500)


async def synced(socket: Socket) -> None:
    """Everything that was pushed before is read."""
    await socket.call("ping")


def take_books(socket: Socket, readers: dict[tuple[str, int], Book], start: int = 0) -> None:
    """Feed every book message to the reader of its symbol; a depth shows in its acknowledgement, so one per socket."""
    for message in socket.seen[start:]:
        if message.get("channel") == "book":
            symbol = message["data"][0]["symbol"]
            [reader] = [reader for (name, _), reader in readers.items() if name == symbol]
            follow(reader, message)


@pytest.mark.parametrize("seed", range(2))
async def test_books_are_gapless_and_equal_the_truth(stack: Stack, seed: int) -> None:
    """Every delta is applied and its checksums compared; joining in the middle; each depth on a socket of its own."""
    traders = Traders(stack, seed)
    await traders.open()
    for depth in DEPTHS:
        async with connected(stack.ws_url) as socket:
            trading = asyncio.create_task(traders.trade(300))
            await asyncio.sleep(0)
            await socket.call("subscribe", channel="book", symbol=[L1, "L2/USD"], depth=depth)
            await trading
            await synced(socket)
            readers = {(symbol, depth): Book(symbol, depth) for symbol in (L1, "L2/USD")}
            take_books(socket, readers)
            for (symbol, _), reader in readers.items():
                snapshot = stack.views.loan_of_symbol(symbol).book.view(depth).snapshot()
                assert reader.seq == snapshot.seq
                assert (reader.bids, reader.asks) == (list(snapshot.bids), list(snapshot.asks))


@pytest.mark.parametrize("seed", range(3))
async def test_a_reader_that_comes_back_resumes_where_it_left_off(stack: Stack, seed: int) -> None:
    """By the steps that it missed, each once, whatever is traded while they are replayed."""
    rng, traders, reader = random.Random(seed), Traders(stack, seed), Book(L1, 25)
    await traders.open()
    resumed = 0
    for _ in range(8):
        known = {} if reader.seq == 0 else {"from_seq": reader.seq, "epoch": reader.epoch}
        trading = asyncio.create_task(traders.trade(100))
        async with connected(stack.ws_url) as socket:
            for _ in range(rng.randint(0, 3)):
                await synced(socket)
            ack = (await socket.call("subscribe", channel="book", symbol=[L1], depth=25, **known))["result"]
            resumed += ack.get("resumed", False)
            await socket.call("subscribe", channel="book", symbol=["L2/USD"])  # traffic of another book
            for _ in range(rng.randint(0, 6)):
                await synced(socket)
            messages = [m for m in socket.seen if m.get("channel") == "book" and m["data"][0]["symbol"] == L1]
            assert [m["type"] for m in messages].count("snapshot") == (not known)
            for message in messages:
                follow(reader, message)
        await trading
    async with connected(stack.ws_url) as socket:
        known = {"from_seq": reader.seq, "epoch": reader.epoch}
        await socket.call("subscribe", channel="book", symbol=L1, depth=25, **known)
        await synced(socket)
        for message in socket.seen:
            if message.get("channel") == "book":
                follow(reader, message)
    snapshot = stack.views.loan_of_symbol(L1).book.view(25).snapshot()
    assert reader.bids == list(snapshot.bids)
    assert (reader.seq, resumed) == (snapshot.seq, 7)


async def test_numbers_that_are_not_known_any_more_get_a_snapshot(stack: Stack) -> None:
    await stack.do(sell("ORIG", 9_900, 500_00))
    async with connected(stack.ws_url) as socket:
        await socket.call("subscribe", channel="book", symbol=[L1])
        [row] = (await socket.push("book", "snapshot"))["data"]
        for seq, epoch, resumed in (
            (row["seq"], row["epoch"], True),
            (row["seq"] + 1, row["epoch"], False),
            (row["seq"], row["epoch"] - 1, False),
        ):
            told = await socket.call("subscribe", channel="book", symbol=[L1], from_seq=seq, epoch=epoch)
            assert (told["result"]["resumed"], told["result"]["snapshot"]) == (resumed, not resumed)
            assert resumed or await socket.push("book", "snapshot")
        await stack.do(sell("ORIG", 9_901, 500_00))
        await synced(socket)
        updates = [m for m in socket.seen if m.get("channel") == "book" and m["type"] == "update"]
        assert [m["data"][0]["prev_seq"] for m in updates] == [row["seq"]]


async def test_resync_is_a_fresh_snapshot_in_band(stack: Stack) -> None:
    await stack.do(sell("ORIG", 9_900, 500_00))
    async with connected(stack.ws_url) as socket:
        refused = await socket.call("resync", channel="book", symbol=[L1])
        assert refused["error_detail"]["code"] == "invalid_arguments"
        await socket.call("subscribe", channel="book", symbol=[L1], depth=25)
        first = await socket.push("book", "snapshot")
        assert (await socket.call("resync", channel="book", symbol=[L1], depth=25))["success"]
        again = await socket.push("book", "snapshot")
        assert again["data"][0] | {"timestamp": 0} == first["data"][0] | {"timestamp": 0}
        await stack.do(sell("ORIG", 9_901, 500_00))
        assert (await socket.push("book", "update"))["data"][0]["prev_seq"] == first["data"][0]["seq"]


async def test_the_empty_book_has_its_digest(stack: Stack) -> None:
    async with connected(stack.ws_url) as socket:
        ack = await socket.call("subscribe", channel="book", symbol=[L1])
        assert ack["result"] == {"channel": "book", "symbol": L1, "depth": 10, "snapshot": True}
        [row] = (await socket.push("book", "snapshot"))["data"]
        assert (row["bids"], row["asks"], row["digest"], row["checksum"]) == ([], [], 1885708031, 0)
        assert (row["symbol"], row["epoch"]) == (L1, stack.engine.epoch)


async def test_an_unknown_symbol_gets_an_error_and_the_others_are_subscribed(stack: Stack) -> None:
    async with connected(stack.ws_url) as socket:
        req_id = await socket.ask("subscribe", channel="ticker", symbol=[L1, "NOPE/USD", "L2/USD"])
        replies = [await socket.reply(req_id) for _ in range(3)]
        assert [reply["success"] for reply in replies] == [True, False, True]
        assert (replies[1]["error"], replies[1]["error_detail"]["code"]) == ("ELoan:Unknown", "unknown_loan")
        assert replies[1]["symbol"] == "NOPE/USD"
        assert [(await socket.push("ticker"))["data"][0]["symbol"] for _ in range(2)] == [L1, "L2/USD"]


@pytest.mark.parametrize(
    ("params", "code", "field"),
    [
        ({"channel": "nope"}, "invalid_arguments", "channel"),
        ({}, "invalid_arguments", "channel"),
        ({"channel": "book"}, "invalid_arguments", "symbol"),
        ({"channel": "book", "symbol": []}, "invalid_arguments", "symbol"),
        ({"channel": "book", "symbol": [L1], "depth": 7}, "invalid_arguments", "depth"),
        ({"channel": "bbo", "symbol": [L1], "depth": 10}, "invalid_arguments", "depth"),
        ({"channel": "ohlc", "symbol": [L1], "interval": 2}, "invalid_arguments", "interval"),
        ({"channel": "board", "sort": "best"}, "invalid_arguments", "sort"),
        ({"channel": "board", "limit": 501}, "invalid_arguments", "limit"),
        ({"channel": "board", "min_price": "1.001"}, "invalid_arguments", "min_price"),
        ({"channel": "board", "symbol": [L1]}, "unknown_field", "symbol"),
        ({"channel": "book", "symbol": [L1], "interval": 1}, "invalid_arguments", "interval"),
        ({"channel": "balances", "symbol": [L1]}, "invalid_arguments", "symbol"),
        ({"channel": "book", "symbol": [L1, "L2/USD"], "from_seq": 1}, "invalid_arguments", "from_seq"),
        ({"channel": "book", "symbol": [L1], "epoch": 1}, "invalid_arguments", "epoch"),
        ({"channel": "ticker", "symbol": [L1], "from_seq": 1}, "invalid_arguments", "from_seq"),
        ({"channel": "book", "symbol": [L1], "frob": 1}, "unknown_field", "frob"),
        ({"channel": "balances"}, "auth_required", None),
        ({"channel": "executions"}, "auth_required", None),
    ],
)
async def test_a_bad_subscription_is_refused_by_field(stack: Stack, params: Json, code: str, field: str | None) -> None:
    async with connected(stack.ws_url) as socket:
        detail = (await socket.call("subscribe", **params))["error_detail"]
        assert detail["code"] == code
        assert (detail.get("field") or "").split(".")[0] == (field or "")


async def test_ack_then_executions_then_public_trade(stack: Stack) -> None:
    key = await stack.investor("A17")
    await stack.do(sell("ORIG", 9_800, 500_00))
    async with connected(stack.ws_url, key) as socket:
        await socket.call("subscribe", channel="executions")
        await socket.call("subscribe", channel="trade", symbol=[L1])
        await socket.call("subscribe", channel="book", symbol=[L1])
        await synced(socket)
        before = len(socket.seen)
        for n in range(20):
            await socket.ask("add_order", **order(L1, "buy", "98.00", "10.00", cl_ord_id=f"c{n}"))
        trades = [await socket.push("trade") for _ in range(20)]
        assert all(trade["data"][0]["qty"] == "10.00" for trade in trades)
        await synced(socket)
        told = [m for m in socket.seen[before:] if m.get("channel") not in ("book", "heartbeat", "status")]
        story = ["ack" if "method" in m else m["channel"] for m in told if m.get("method") != "pong"]
        assert story == ["ack", "executions", "executions", "trade"] * 20
        new, fill = told[1], told[2]
        assert (new["sequence"], new["prev_sequence"], fill["sequence"]) == (1, 0, 2)
        assert [row["exec_type"] for row in new["data"]] == ["new"]
        [row] = fill["data"]
        assert (row["exec_type"], row["order_status"], row["liquidity_ind"]) == ("trade", "filled", "t")
        assert (row["last_qty"], row["last_price"], row["cum_qty"]) == ("10.00", "98.00", "10.00")
        assert row["engine_seq"] == told[0]["result"]["engine_seq"]
        assert row["trade_id"] == trades[0]["data"][0]["trade_id"]


async def test_rows_of_trade_bbo_and_ticker(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url, key) as socket:
        for channel in ("trade", "bbo", "ticker"):
            await socket.call("subscribe", channel=channel, symbol=[L1])
        [empty] = (await socket.push("bbo", "snapshot"))["data"]
        assert (empty["bid"], empty["ask"]) == (None, None)
        await stack.do(sell("ORIG", 9_800, 500_00), buy("A17", 9_700, 100_00))
        [row] = (await socket.push("bbo", "update"))["data"]
        assert (row["symbol"], row["ask"], row["ask_qty"], row["bid"]) == (L1, "98.00", "500.00", None)
        await stack.do(buy("A17", 9_800, 200_00))
        [trade] = (await socket.push("trade", "update"))["data"]
        assert {k: trade[k] for k in ("symbol", "side", "price", "qty", "ord_type", "accrued")} == {
            "symbol": L1,
            "side": "buy",
            "price": "98.00",
            "qty": "200.00",
            "ord_type": "limit",
            "accrued": "0.00",
        }
        assert trade["trade_id"].startswith("T-")
        await synced(socket)
        [ticker] = [m for m in socket.seen if m.get("channel") == "ticker"][-1]["data"]
        assert " ".join(ticker) == (
            "symbol bid bid_qty ask ask_qty last volume vwap low high change change_pct ytm_bid ytm_ask ytm_last "
            "accrued factor timestamp"
        )
        assert (ticker["bid"], ticker["bid_qty"], ticker["ask_qty"], ticker["last"]) == (
            "97.00",
            "100.00",
            "300.00",
            "98.00",
        )
        assert (ticker["volume"], ticker["vwap"], ticker["change"], ticker["factor"]) == (
            "200.00",
            "98.00",
            "0.00",
            "1.00000000",
        )
        assert ticker["ytm_last"] == ticker["ytm_ask"] == trade["ytm"]
        assert float(ticker["ytm_bid"]) > float(ticker["ytm_ask"])


async def test_trades_of_the_day_come_as_a_snapshot_if_wished(stack: Stack) -> None:
    await stack.investor("A17")
    await stack.do(sell("ORIG", 9_800, 500_00), buy("A17", 9_800, 1_00), buy("A17", 9_800, 2_00))
    async with connected(stack.ws_url) as socket:
        await socket.call("subscribe", channel="trade", symbol=[L1], snapshot=True)
        message = await socket.push("trade", "snapshot")
        assert [row["qty"] for row in message["data"]] == ["1.00", "2.00"]


async def test_candles_join_the_database_and_the_live_trades(stack: Stack, market: Market) -> None:
    await stack.investor("A17")
    await stack.do(sell("ORIG", 9_800, 500_00), buy("A17", 9_800, 1_00))
    async with connected(stack.ws_url) as socket:
        ack = await socket.call("subscribe", channel="ohlc", symbol=[L1], interval=10080)
        assert ack["result"] == {"channel": "ohlc", "symbol": L1, "interval": 10080, "snapshot": True}
        [first] = (await socket.push("ohlc", "snapshot"))["data"]
        await stack.do(sell("ORIG", 9_700, 2_00), buy("A17", 9_700, 2_00))
        [row] = (await socket.push("ohlc", "update"))["data"]
        assert " ".join(row) == ("symbol open high low close trades volume vwap interval interval_begin timestamp")
        assert (first["open"], first["close"], first["trades"], first["volume"]) == ("98.00", "98.00", 1, "1.00")
        assert (row["open"], row["high"], row["low"], row["close"]) == ("98.00", "98.00", "97.00", "97.00")
        assert (row["trades"], row["volume"], row["vwap"]) == (2, "3.00", "97.33")
        asked = await market.anyone.get("/v1/loans/L1/candles?interval=10080")
        assert asked.body == {"items": [row], "next_cursor": None}
        assert (await market.anyone.get("/v1/loans/L1/candles?interval=7")).field == "interval"
        assert (await socket.call("resync", channel="ohlc", symbol=L1, interval=10080))["success"]
        assert (await socket.push("ohlc", "snapshot"))["data"] == [row]


async def test_a_board_of_named_loans_tells_the_fields_that_are_asked_for(stack: Stack) -> None:
    wish = {"loan_id": ["L2", "L1", "L9"], "fields": "ask,status", "status": "all", "limit": 3}
    async with connected(stack.ws_url) as socket:
        assert (await socket.call("subscribe", channel="board", **wish))["success"]
        rows = [{"loan_id": name, "symbol": f"{name}/USD", "ask": None, "status": "current"} for name in ("L1", "L2")]
        assert (await socket.push("board", "snapshot"))["data"] == rows
        await stack.do(sell("ORIG", 9_700, 100_00, loan_id="L2"))
        assert (await socket.push("board", "update"))["data"] == [rows[1] | {"ask": "97.00"}]
        refused = await socket.call("subscribe", channel="board", fields=["colour"])
        assert refused["error_detail"]["field"] == "fields"


async def test_the_board_is_pushed_as_it_is_shown(stack: Stack, market: Market) -> None:
    await stack.do(sell("ORIG", 9_800, 500_00))
    wish = {"max_price": "99.00", "sort": "-ytm", "limit": 5}
    async with connected(stack.ws_url) as socket:
        ack = (await socket.call("subscribe", channel="board", **wish))["result"]
        assert (ack["channel"], ack["limit"], ack["snapshot"]) == ("board", 5, True)
        snapshot = await socket.push("board", "snapshot")
        shown = (await market.anyone.get("/v1/loans?max_price=99.00&sort=-ytm&limit=5")).body["items"]
        assert (snapshot["data"], snapshot["board"]) == (shown, ack["board"])
        await stack.do(sell("ORIG", 9_700, 100_00, loan_id="L2"))
        [entered] = (await socket.push("board", "update"))["data"]
        assert entered == (await market.anyone.get("/v1/loans/L2")).body
        await stack.do(CancelAll(account_id=AccountId("ORIG"), loan_id=LoanId("L1")))
        gone = {"symbol": "L1/USD", "loan_id": "L1", "removed": True}
        assert (await socket.push("board", "update"))["data"] == [gone]
        assert (await socket.call("resync", channel="board", **wish))["success"]
        assert (await socket.push("board", "snapshot"))["data"] == [entered]
        assert (await socket.call("unsubscribe", channel="board", **wish))["success"]
        assert (await socket.call("unsubscribe", channel="board", **wish))["error_detail"]["field"] == "channel"


async def test_a_socket_looks_at_ten_boards(stack: Stack) -> None:
    async with connected(stack.ws_url) as socket:
        told = [await socket.call("subscribe", channel="board", q=str(n % 11)) for n in range(12)]
        assert [each["success"] for each in told] == [True] * 10 + [False, True]


async def test_instruments_are_told_when_terms_or_status_change(stack: Stack) -> None:
    await stack.investor("A17")
    async with connected(stack.ws_url) as socket, connected(stack.ws_url) as all_of_them:
        await socket.call("subscribe", channel="instrument", symbol=L1)
        await all_of_them.call("subscribe", channel="instrument")
        [loan] = (await socket.push("instrument", "snapshot"))["data"]
        assert (loan["symbol"], loan["status"], loan["factor"], loan["rulebook"]["name"]) == (
            L1,
            "current",
            "1.00000000",
            "open",
        )
        assert len((await all_of_them.push("instrument", "snapshot"))["data"]) == 2
        await stack.do(sell("ORIG", 9_800, 500_00), buy("A17", 9_800, 1_00))  # a last price is no change of terms
        await stack.do(HaltLoan(loan_id=LoanId("L1"), halted=True, reason="audit"))
        for reader in (socket, all_of_them):
            [row] = (await reader.push("instrument", "update"))["data"]
            assert (row["symbol"], row["halted"], row["halt_reason"]) == (L1, True, "audit")


async def test_status_reaches_everybody(stack: Stack) -> None:
    async with connected(stack.ws_url) as socket:
        await stack.do(SetMode(mode=Mode.POST_ONLY))
        assert (await socket.push("status"))["data"][0]["system"] == "post_only"
        await stack.do(RollDay(to=date(2024, 1, 16)))
        await socket.call("subscribe", channel="status")
        assert (await socket.push("status"))["data"][0]["business_date"] == "2024-01-16"


async def test_heartbeats_begin_with_a_subscription(stack: Stack) -> None:
    async with connected(stack.ws_url) as idle, connected(stack.ws_url) as socket:
        await socket.call("subscribe", channel="heartbeat")
        assert await socket.push("heartbeat")
        await synced(idle)
        assert [m for m in idle.seen if m.get("channel") == "heartbeat"] == []


async def test_balances_show_total_available_held(stack: Stack) -> None:
    key = await stack.investor("A17", 1_000_00)
    async with connected(stack.ws_url, key) as socket:
        await socket.call("subscribe", channel="balances")
        snapshot = await socket.push("balances", "snapshot")
        assert snapshot["data"] == [{"asset": "USD", "balance": "1000.00", "available": "1000.00", "held": "0.00"}]
        await stack.do(sell("ORIG", 9_800, 500_00), buy("A17", 9_800, 500_00))
        rows = {row["asset"]: row for row in (await socket.push("balances", "update"))["data"]}
        assert rows["USD"]["balance"] == "510.00"
        assert rows["L1"] == {"asset": "L1", "balance": "500.00", "available": "500.00", "held": "0.00"}


async def test_unsubscribed_streams_fall_silent(stack: Stack) -> None:
    async with connected(stack.ws_url) as socket:
        for channel in ("book", "bbo", "ticker"):
            await socket.call("subscribe", channel=channel, symbol=[L1])
            assert (await socket.call("unsubscribe", channel=channel, symbol=[L1]))["success"]
        await synced(socket)
        before = len(socket.seen)
        await stack.do(sell("ORIG", 9_800, 500_00))
        await synced(socket)
        assert [m for m in socket.seen[before:] if m.get("channel") in ("book", "bbo", "ticker")] == []


async def test_json_numbers_on_demand(stack: Stack) -> None:
    await stack.do(sell("ORIG", 9_810, 500_00))
    async with connected(stack.ws_url + "?num=json") as numbers, connected(stack.ws_url) as strings:
        for socket in (numbers, strings):
            await socket.call("subscribe", channel="book", symbol=[L1])
            await socket.call("subscribe", channel="instrument", symbol=[L1])
        [row] = (await numbers.push("book"))["data"]
        assert row["asks"] == [{"price": 98.1, "qty": 500}]
        [plain] = (await strings.push("book"))["data"]
        assert plain["asks"] == [{"price": "98.10", "qty": "500.00"}]
        assert row["checksum"] == plain["checksum"]
        [loan] = (await numbers.push("instrument"))["data"]
        assert loan["annual_rate"] == 0.12
        assert loan["loan_id"] == "L1"


# Executions


def executions(socket: Socket) -> list[Json]:
    return [m for m in socket.seen if m.get("channel") == "executions"]


async def test_snapshot_of_open_orders_and_fills(stack: Stack) -> None:
    key = await stack.investor("A17")
    await stack.do(sell("ORIG", 9_800, 500_00))
    await stack.do(buy("A17", 9_800, 100_00), buy("A17", 9_700, 7_00), buy("A17", 9_701, 8_00))
    async with connected(stack.ws_url, key) as socket:
        await socket.call("subscribe", channel="executions", snap_trades=True)
        orders, trades = [await socket.push("executions", "snapshot") for _ in range(2)]
        assert [row["order_qty"] for row in orders["data"]] == ["7.00", "8.00"]
        assert [row["order_status"] for row in orders["data"]] == ["new", "new"]
        last = stack.views.account(AccountId("A17")).open_orders
        assert [row["exec_id"] for row in orders["data"]] == [state.exec_id for state in last.values()]
        assert [row["last_qty"] for row in trades["data"]] == ["100.00"]
        assert orders["sequence"] == trades["sequence"] == 4
        await stack.do(buy("A17", 9_600, 1_00))
        live = await socket.push("executions", "update")
        assert (live["sequence"], live["prev_sequence"]) == (5, 4)


async def test_executions_resume_by_sequence_without_a_hole(stack: Stack) -> None:
    """A client that leaves and comes back again and again, while trading goes on, has every message once, in order."""
    key = await stack.investor("A17")
    await stack.do(sell("ORIG", 9_800, 5_000_00))
    orders = 400

    async def trade() -> None:
        for n in range(orders):
            await stack.engine.submit(buy("A17", 9_800 if n % 2 else 9_700, 1_00), actor="test")

    trading = asyncio.create_task(trade())
    rng, got, live = random.Random(5), [0], 0
    while got[-1] < orders + orders // 2:
        async with connected(stack.ws_url, key) as socket:
            assert (await socket.call("subscribe", channel="executions", from_seq=got[-1]))["success"]
            for _ in range(rng.randint(1, 120)):
                message = await socket.push("executions")
                assert message["type"] == "update"
                assert message["prev_sequence"] == got[-1]
                got.append(message["sequence"])
                live += not trading.done()
                if got[-1] == orders + orders // 2:
                    break
            socket.vanish()
    await trading
    assert got == list(range(orders + orders // 2 + 1))
    assert live > 20


async def test_what_is_replayed_equals_what_was_live(stack: Stack) -> None:
    key = await stack.investor("A17")
    await stack.do(sell("ORIG", 9_800, 5_000_00))
    async with connected(stack.ws_url, key) as socket:
        await socket.call("subscribe", channel="executions", snap_orders=False)
        await stack.do(buy("A17", 9_800, 10_00), buy("A17", 9_700, 10_00, client_order_id="x"))
        await stack.do(CancelAll(account_id=AccountId("A17")))
        await synced(socket)
        live = executions(socket)
    async with connected(stack.ws_url, key) as socket:
        await socket.call("subscribe", channel="executions", from_seq=0)
        await synced(socket)
        assert executions(socket) == live
        assert len(live) == 4


async def test_a_sequence_from_the_future_is_refused(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url, key) as socket:
        reply = await socket.call("subscribe", channel="executions", from_seq=1)
        assert reply["error_detail"]["field"] == "from_seq"


async def test_executions_are_the_owners_alone(stack: Stack) -> None:
    mine, other = await stack.investor("A17"), await stack.investor("B1")
    async with connected(stack.ws_url, mine) as socket, connected(stack.ws_url, other) as stranger:
        for each in (socket, stranger):
            await each.call("subscribe", channel="executions")
            await each.call("subscribe", channel="balances")
        await stack.do(buy("A17", 9_700, 10_00))
        assert (await socket.push("executions", "update"))["data"][0]["order_qty"] == "10.00"
        await synced(stranger)
        private = [m for m in stranger.seen if m.get("channel") in ("executions", "balances")]
        assert [m["type"] for m in private] == ["snapshot", "snapshot"]


# A rebuild of the engine


async def test_a_rebuild_is_a_new_epoch_with_fresh_snapshots(stack: Stack) -> None:
    key = await stack.investor("A17")
    await stack.do(sell("ORIG", 9_800, 500_00))
    async with connected(stack.ws_url, key) as socket:
        for channel in ("book", "bbo", "ticker"):
            await socket.call("subscribe", channel=channel, symbol=[L1])
        await socket.call("subscribe", channel="executions")
        await synced(socket)
        before, old = len(socket.seen), stack.engine.epoch
        await stack.cut_engine_off()
        status = await socket.push("status")
        assert status["data"][0]["epoch"] == stack.engine.epoch > old
        await synced(socket)
        fresh = [m for m in socket.seen[before:] if m.get("channel") in ("book", "bbo", "ticker")]
        assert sorted(m["channel"] for m in fresh if m["type"] == "snapshot") == ["bbo", "book", "ticker"]
        reader = Book(L1)
        follow(reader, next(m for m in fresh if m["channel"] == "book"))
        assert reader.epoch == stack.engine.epoch
        await _reopened(stack, key)
        update = await socket.push("executions", "update")
        assert (update["sequence"], update["prev_sequence"]) == (1, 0)


async def _reopened(stack: Stack, key: ApiKey) -> Any:
    """Place an order as soon as orders are taken again."""
    for _ in range(100):
        try:
            return await stack.do(buy("A17", 9_700, 1_00))
        except MarketError:
            await asyncio.sleep(0.05)
    raise AssertionError("the market did not reopen")
