"""Readers that are slow, leave in mid-sentence or talk nonsense: the market goes on, and each gets its due."""

import asyncio
import json
import random
from collections import deque
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from gateway.client import Book
from gateway.ws.outbox import OutboxLimits
from gateway.ws.session import SocketLimits
from market.commands import OrderAck
from market.errors import MarketError
from market.ids import OrderId
from tests.builders import buy, cancel, sell
from tests.e2e.sockets import Json, RawSocket, connected, follow, login_params
from tests.e2e.stack import Stack, running_stack
from tests.patience import until

L1 = "L1/USD"
SMALL = SocketLimits(
    outbox=OutboxLimits(backlog_bytes_max=64 << 10, conflate_bytes=8 << 10, behind_s_max=600.0),
    ping_every_s=1.0,
)


async def make_noise(stack: Stack, commands: int, seed: int = 1) -> None:
    """Change the asks of L1 again and again, and leave about twenty orders."""
    rng = random.Random(seed)
    placed: deque[OrderId] = deque()

    async def place() -> None:
        ack = await stack.do(sell("ORIG", 9_900 + rng.randint(0, 400), 1_00))
        assert isinstance(ack, OrderAck)
        placed.append(ack.order_id)

    for _ in range(0, commands, 40):
        await asyncio.gather(*(place() for _ in range(20)))
        leaving = [placed.popleft() for _ in range(len(placed) - 20)]
        await asyncio.gather(*(stack.do(cancel("ORIG", order_id)) for order_id in leaving))


async def subscribed(stack: Stack, channel: str, **params: Any) -> RawSocket:
    reader = await RawSocket.open(stack.ws_url)
    reader.send({"method": "subscribe", "params": {"channel": channel, **params}, "req_id": 1})
    await reader.until(lambda m: m.get("method") == "subscribe")
    return reader


async def test_a_slow_reader_gets_merged_books_without_a_gap(database: str) -> None:
    async with running_stack(database, limits=SMALL) as stack:
        slow = await subscribed(stack, "book", symbol=[L1], depth=25)
        slow_ticker = await subscribed(stack, "ticker", symbol=[L1])
        await make_noise(stack, 4_000)
        sessions = list(stack.hub.sessions)
        assert all(session.outbox.backlog < 64 << 10 for session in sessions)
        assert any(session.outbox.congested for session in sessions)
        book = Book(L1, 25)
        truth = stack.views.loan_of_symbol(L1).book.view(25)
        while book.seq < truth.snapshot().seq:
            follow(book, await slow.until(lambda m: m.get("channel") == "book"))
        assert book.conflated > 0
        assert book.asks == list(truth.snapshot().asks)
        await stack.do(sell("ORIG", 9_899, 1_00))
        follow(book, await slow.until(lambda m: m.get("channel") == "book"))
        assert book.best_ask == (9_899, 1_00)
        last = await slow_ticker.until(lambda m: m.get("channel") == "ticker" and m["data"][0]["ask"] == "98.99")
        assert last["data"][0]["ask_qty"] == "1.00"


async def test_a_reader_too_slow_for_what_cannot_be_merged_is_cut_off(database: str) -> None:
    async with running_stack(database, limits=SMALL) as stack:
        key = await stack.investor("A17")
        slow = await RawSocket.open(stack.ws_url)
        greeting = await slow.message()
        slow.send({"method": "login", "params": login_params(greeting, key), "req_id": 1})
        slow.send({"method": "subscribe", "params": {"channel": "executions"}, "req_id": 2})
        await slow.until(lambda m: m.get("req_id") == 2)
        most = 0
        for n in range(3_000):
            await stack.do(buy("A17", 9_000 + n % 7, 1_00))
            most = max([most, *(session.outbox.backlog for session in stack.hub.sessions)])
            if not stack.hub.sessions:
                break
        assert most < 70 << 10
        seen, code = await slow.rest()
        assert code == 4008
        assert seen[-1]["data"][0]["reason"] == "slow_consumer"
        numbers = [m["sequence"] for m in seen if m.get("channel") == "executions"]
        assert numbers == list(range(len(numbers)))
        assert b"gateway_slow_consumers_total 1.0" in stack.metrics.text()


async def test_sockets_that_vanish_in_mid_publish_never_reach_the_engine(stack: Stack) -> None:
    """Readers of everything are reset at random moments while orders flow; every order is answered."""
    key = await stack.investor("A17")
    rng = random.Random(11)
    answered, stop = 0, False

    async def trade() -> None:
        nonlocal answered
        n = 0
        while not stop:
            n += 1
            side = sell("ORIG", 9_900 + n % 5, 1_00) if n % 2 else buy("A17", 9_900 + n % 5, 1_00)
            with suppress(MarketError):
                await stack.do(side)
            answered += 1

    async def come_and_go() -> None:
        async with connected(stack.ws_url, key) as socket:
            for channel in ("book", "bbo", "ticker", "trade"):
                await socket.ask("subscribe", channel=channel, symbol=[L1])
            await socket.ask("subscribe", channel="executions", from_seq=0)
            await socket.ask("add_order", symbol=L1, side="buy", order_type="limit", limit_price="90", order_qty="1")
            for _ in range(rng.randint(1, 60)):
                await socket.frame()
            socket.vanish()

    trading = [asyncio.create_task(trade()) for _ in range(4)]
    for _ in range(15):
        await asyncio.gather(*(come_and_go() for _ in range(6)))
    before = answered
    await until(lambda: answered >= before + 50)
    stop = True
    await asyncio.gather(*trading)
    await until(lambda: not stack.hub.sessions)
    assert stack.hub.reader_count == 0


UNREADABLE = [
    pytest.param(b"not json", None, id="not JSON"),
    pytest.param(b'{"method":"ping"', None, id="cut short"),
    pytest.param(b"[]", None, id="no object"),
    pytest.param(b'"ping"', None, id="a string"),
    pytest.param(b"", None, id="empty"),
    pytest.param(b'{"method":"ping","req_id":7,"params":{"a":1,"a":2}}', 7, id="duplicate key"),
    pytest.param(b'{"method":"ping","req_id":8,"params":{"a":NaN}}', 8, id="NaN"),
    pytest.param(b'{"method":"ping","req_id":"x","params":{"a":Infinity}}', "x", id="Infinity"),
    pytest.param(b"[" * 100_000, None, id="deep"),
    pytest.param(b'{"req_id":' + b"9" * 5_000 + b"}", None, id="endless number"),
]


@pytest.mark.parametrize(("frame", "req_id"), UNREADABLE)
async def test_an_unreadable_frame_is_answered_and_the_connection_stays(
    stack: Stack, frame: bytes, req_id: object
) -> None:
    async with connected(stack.ws_url) as socket:
        await socket.send(frame.decode())
        reply = await socket.until(lambda m: "channel" not in m)
        assert (reply["method"], reply["req_id"], reply["success"]) == (None, req_id, False)
        assert (reply["error"], reply["error_detail"]["code"]) == ("EGeneral:Invalid arguments", "invalid_arguments")
        assert (await socket.call("ping"))["method"] == "pong"


async def test_three_unreadable_frames_close(stack: Stack) -> None:
    async with connected(stack.ws_url) as socket:
        for _ in range(3):
            await socket.send("{")
        assert await socket.closed() == 1008
        assert len([m for m in socket.seen if m.get("success") is False]) == 3


@pytest.mark.parametrize(
    ("body", "code", "field", "method", "req_id"),
    [
        ({"req_id": 1}, "invalid_arguments", "method", None, 1),
        ({"method": 5, "req_id": 1}, "invalid_arguments", "method", None, 1),
        ({"method": "ping", "req_id": 1, "extra": 1}, "unknown_field", "extra", "ping", 1),
        ({"method": "ping", "req_id": 1, "params": []}, "invalid_arguments", "params", "ping", 1),
        ({"method": "ping", "req_id": 1, "params": {"x": 1}}, "unknown_field", "x", "ping", 1),
        ({"method": "ping", "req_id": 1.5}, "invalid_arguments", "req_id", "ping", None),
        ({"method": "ping", "req_id": True}, "invalid_arguments", "req_id", "ping", None),
        ({"method": "login", "req_id": "a", "params": {}}, "invalid_arguments", "api_key", "login", "a"),
    ],
)
async def test_a_bad_envelope_is_named(
    stack: Stack, body: Json, code: str, field: str, method: str | None, req_id: object
) -> None:
    async with connected(stack.ws_url) as socket:
        await socket.send(body)
        reply = await socket.until(lambda m: "channel" not in m)
        assert (reply["method"], reply["req_id"]) == (method, req_id)
        assert (reply["error_detail"]["code"], reply["error_detail"]["field"]) == (code, field)


@pytest.mark.parametrize("req_id", [0, -5, 2**70, "a-b", ""])
async def test_req_ids_are_echoed_exactly(stack: Stack, req_id: object) -> None:
    async with connected(stack.ws_url) as socket:
        await socket.send({"method": "ping", "req_id": req_id})
        reply = await socket.until(lambda m: m.get("method") == "pong")
        assert reply["req_id"] == req_id
        assert reply["success"]


async def test_frames_up_to_the_limit_are_taken_and_no_larger(stack: Stack) -> None:
    async with connected(stack.ws_url) as socket:
        frame = json.dumps({"method": "ping", "req_id": ""})
        await socket.send(frame.replace('""', '"' + "x" * ((128 << 10) - len(frame)) + '"'))
        assert (await socket.until(lambda m: m.get("method") == "pong"))["success"]
        await socket.send("x" * ((128 << 10) + 1))
        assert await socket.closed() == 1009


async def test_binary_frames_are_unreadable(stack: Stack) -> None:
    async with connected(stack.ws_url) as socket:
        await socket.connection.send_bytes(b'{"method":"ping"}')
        assert (await socket.until(lambda m: "channel" not in m))["method"] is None


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        pytest.param(b"", 1000, id="no code"),
        pytest.param(b"\x03\xe8bye", 1000, id="normal"),
        pytest.param(b"\x03\xf3", 1011, id="echoed"),
        pytest.param(b"\x0f\xa0", 4000, id="private"),
        pytest.param(b"\x03\xee", 1002, id="1006 must not be sent"),
        pytest.param(b"\x03\xed", 1002, id="1005 must not be sent"),
        pytest.param(b"\x13\x88", 1002, id="5000"),
        pytest.param(b"\x00\x00", 1002, id="0"),
        pytest.param(b"\x03", 1002, id="half a code"),
        pytest.param(b"\x03\xe8\xff", 1007, id="reason is not UTF-8"),
    ],
)
async def test_close_codes_are_answered_by_the_book(stack: Stack, sent: bytes, answered: int) -> None:
    raw = await RawSocket.open(stack.ws_url)
    raw.send(sent, opcode=0x88)
    assert await raw.close_code() == answered


async def test_text_that_is_not_utf8_closes(stack: Stack) -> None:
    raw = await RawSocket.open(stack.ws_url)
    raw.send(b"\xff\xfe")
    assert await raw.close_code() == 1007


async def test_pings_both_ways(database: str) -> None:
    async with running_stack(database, limits=SMALL) as stack:
        raw = await RawSocket.open(stack.ws_url)
        raw.send(b"hello", opcode=0x89)
        seen: set[tuple[int, bytes]] = set()
        while len(seen) < 2:
            opcode, payload = await raw.frame()
            if opcode in (9, 10):
                seen.add((opcode, payload))
        assert seen == {(9, b""), (10, b"hello")}


async def test_a_silent_peer_is_given_up(database: str) -> None:
    limits = SocketLimits(silence_s_max=1.0)
    async with running_stack(database, limits=limits) as stack:
        raw = await RawSocket.open(stack.ws_url)
        assert await raw.close_code() == 1006
        await until(lambda: not stack.hub.sessions)


async def test_a_stop_tells_every_socket(database: str) -> None:
    async with running_stack(database) as stack:
        raw = await RawSocket.open(stack.ws_url)
        await raw.message()
    assert await raw.close_code() == 1012


async def test_the_path_of_the_facade_is_the_same_socket(stack: Stack) -> None:
    async with connected(stack.ws_url.replace("/ws/v2", "/v2") + "?num=json") as socket:
        await socket.call("subscribe", channel="book", symbol=[L1])
        assert (await socket.push("book"))["type"] == "snapshot"


async def test_metrics_are_exposed(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url, key) as socket, aiohttp.ClientSession() as client:
        good = {"symbol": L1, "side": "buy", "order_type": "limit", "limit_price": "90", "order_qty": "1"}
        await socket.call("add_order", **good)
        await socket.call("add_order", **good | {"symbol": "L9/USD"})
        text = await (await client.get(stack.url + "/metrics")).text()
    for line in (
        'market_orders_total{outcome="accepted"} 1.0',
        'market_orders_total{outcome="unknown_loan"} 1.0',
        "gateway_sockets 1.0",
        "market_open_orders 1.0",
        "gateway_queued_bytes 0.0",
    ):
        assert line in text
    for name in ("market_batch_commands", "market_commit_seconds", "market_ack_seconds", "gateway_feed_lag_seconds"):
        assert f"{name}_count" in text


async def test_the_echo_for_conformance_suites(stack: Stack) -> None:
    raw = await RawSocket.open(stack.ws_url.replace("/ws/v2", "/ws/echo"), receive_buffer=1 << 20)
    raw.send(b"hello")
    raw.send(b"\x00\xff", opcode=0x82)
    raw.send(b"p", opcode=0x89)
    assert [await raw.frame() for _ in range(3)] == [(1, b"hello"), (2, b"\x00\xff"), (10, b"p")]
    raw.send(b"\x03\xee", opcode=0x88)
    assert await raw.close_code() == 1002
