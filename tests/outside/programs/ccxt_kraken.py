"""ccxt's own `kraken` class with nothing changed but its URLs: everything that a trader does, by REST and by socket."""

import asyncio
import os
from collections.abc import Awaitable
from typing import Any, TypeVar

import ccxt
import ccxt.pro

T = TypeVar("T")
URL = os.environ["MARKET_URL"]
SOCKET = URL.replace("http", "ws", 1) + "/v2"
SYMBOL = os.environ["MARKET_SYMBOLS"].split(",")[0]
LOAN, CURRENCY = SYMBOL.split("/")
URLS = {
    "public": URL,
    "private": URL,
    "ws": {"public": SOCKET, "private": SOCKET, "publicV2": SOCKET, "privateV2": SOCKET},
}
STEP_S = 30.0


async def done(what: str, call: Awaitable[T]) -> T:
    async with asyncio.timeout(STEP_S):
        result = await call
    print(f"  {what}")
    return result


async def refused(what: str, call: Awaitable[Any], kind: type[Exception]) -> None:
    try:
        async with asyncio.timeout(STEP_S):
            await call
    except kind:
        print(f"  {what}: {kind.__name__}")
        return
    raise AssertionError(f"{what} was not refused")


async def read_the_market(exchange: ccxt.pro.kraken) -> None:
    markets = await done("load markets", exchange.load_markets())
    market = markets[SYMBOL]
    assert (market["base"], market["quote"], market["active"]) == (LOAN, CURRENCY, True)
    assert market["precision"] == {"amount": 0.01, "price": 0.01}
    assert (await done("fetch status", exchange.fetch_status()))["status"] == "ok"
    assert await done("fetch time", exchange.fetch_time()) > 1_700_000_000_000
    assert LOAN in await done("fetch currencies", exchange.fetch_currencies())
    book = await done("fetch order book", exchange.fetch_order_book(SYMBOL, 10))
    assert len(book["bids"]) == len(book["asks"]) == 10
    assert book["bids"][0][0] < book["asks"][0][0]
    ticker = await done("fetch ticker", exchange.fetch_ticker(SYMBOL))
    assert ticker["bid"] < ticker["ask"]
    assert ticker["last"] is not None
    assert SYMBOL in await done("fetch tickers", exchange.fetch_tickers())
    trades = await done("fetch trades", exchange.fetch_trades(SYMBOL, limit=5))
    assert len(trades) == 5
    assert all(trade["id"].startswith("T-") and trade["price"] and trade["amount"] for trade in trades)
    candles = await done("fetch ohlcv", exchange.fetch_ohlcv(SYMBOL, "1m"))
    assert all(low <= close <= high and volume > 0 for _, _, high, low, close, volume in candles)
    assert candles


async def watch_the_market(exchange: ccxt.pro.kraken) -> None:
    for _ in range(50):
        book = await exchange.watch_order_book(SYMBOL, 10)
        assert book["bids"][0][0] < book["asks"][0][0], "a book is never crossed"
        assert len(book["bids"]) == len(book["asks"]) == 10
    print("  watch order book, 50 times")
    assert (await done("watch ticker", exchange.watch_ticker(SYMBOL)))["symbol"] == SYMBOL
    assert SYMBOL in await done("watch bids and asks", exchange.watch_bids_asks([SYMBOL]))
    assert await done("watch trades", exchange.watch_trades(SYMBOL))
    assert await done("watch ohlcv", exchange.watch_ohlcv(SYMBOL, "1m"))


async def trade_by_rest(exchange: ccxt.pro.kraken) -> None:
    before = await done("fetch balance", exchange.fetch_balance())
    assert before[CURRENCY]["free"] > 0
    order = await done(
        "create order", exchange.create_order(SYMBOL, "limit", "buy", 10.5, 90.37, {"clientOrderId": "py-1"})
    )
    shown = await done("fetch order", exchange.fetch_order(order["id"]))
    told = (shown["status"], shown["clientOrderId"], shown["amount"], shown["price"], shown["side"], shown["symbol"])
    assert told == ("open", "py-1", 10.5, 90.37, "buy", SYMBOL)
    held = await exchange.fetch_balance()
    assert held[CURRENCY]["used"] > before[CURRENCY]["used"]
    await done("edit order", exchange.edit_order(order["id"], SYMBOL, "limit", "buy", 9, 90.5))
    [shown] = await done("fetch open orders", exchange.fetch_open_orders(SYMBOL))
    assert (shown["id"], shown["amount"], shown["price"]) == (order["id"], 9, 90.5)
    await done("cancel order", exchange.cancel_order(order["id"]))
    closed = await done("fetch closed orders", exchange.fetch_closed_orders(SYMBOL))
    assert [(each["id"], each["status"]) for each in closed] == [(order["id"], "canceled")]
    bought = await done("create market order", exchange.create_order(SYMBOL, "market", "buy", 5))
    shown = await exchange.fetch_order(bought["id"])
    assert (shown["status"], shown["filled"]) == ("closed", 5)
    mine = await done("fetch my trades", exchange.fetch_my_trades(SYMBOL))
    assert sum(trade["amount"] for trade in mine if trade["order"] == bought["id"]) == 5
    assert {trade["takerOrMaker"] for trade in mine} == {"taker"}
    assert await done(
        "fetch order trades", exchange.fetch_order_trades(bought["id"], params={"trades": shown["trades"]})
    )
    assert (await exchange.fetch_balance())[LOAN]["total"] == 5
    several = [{"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 5, "price": price} for price in (90, 90.1)]
    assert len(await done("create orders", exchange.create_orders(several))) == 2
    await done("cancel all orders", exchange.cancel_all_orders())
    assert await exchange.fetch_open_orders() == []
    await refused(
        "too large an order", exchange.create_order(SYMBOL, "limit", "buy", 10**9, 90), ccxt.InsufficientFunds
    )
    await refused("too small", exchange.create_order(SYMBOL, "limit", "buy", 0.5, 90), ccxt.InvalidOrder)
    await refused("no price at all", exchange.create_order(SYMBOL, "limit", "buy", 5, 9000), ccxt.InvalidOrder)
    await refused("an order that is gone", exchange.cancel_order(order["id"]), ccxt.OrderNotFound)


async def trade_by_socket(exchange: ccxt.pro.kraken) -> None:
    balance = await done("watch balance", exchange.watch_balance())
    assert balance["total"][CURRENCY] > 0
    orders = asyncio.create_task(exchange.watch_orders(SYMBOL))
    await asyncio.sleep(0.5)  # subscribed before the order, whose row is what it waits for
    order = await done(
        "create order", exchange.create_order_ws(SYMBOL, "limit", "buy", 7, 90, {"clientOrderId": "ws-1"})
    )
    seen = await done("watch orders", orders)
    assert (seen[-1]["id"], seen[-1]["status"]) == (order["id"], "open")
    await done("edit order", exchange.edit_order_ws(order["id"], SYMBOL, "limit", "buy", 6.5, 90.2))
    [shown] = await exchange.fetch_open_orders(SYMBOL)
    assert (shown["id"], shown["amount"], shown["price"]) == (order["id"], 6.5, 90.2)
    await done("cancel order", exchange.cancel_order_ws(order["id"]))
    trades = asyncio.create_task(exchange.watch_my_trades(SYMBOL))
    await asyncio.sleep(0.5)
    bought = await done("create market order", exchange.create_order_ws(SYMBOL, "market", "buy", 4))
    mine = await done("watch my trades", trades)
    last = mine[-1]
    assert (last["order"], last["side"], last["takerOrMaker"], last["symbol"]) == (bought["id"], "buy", "taker", SYMBOL)
    assert last["cost"] > 0
    assert last["fee"] == {"cost": 0.0, "currency": CURRENCY}
    for price in (90, 90.1):
        await exchange.create_order_ws(SYMBOL, "limit", "buy", 5, price, {"postOnly": True})
    told = await done("cancel all orders", exchange.cancel_all_orders_ws())
    assert told["result"]["count"] == 2
    await refused(
        "too large an order", exchange.create_order_ws(SYMBOL, "limit", "buy", 10**9, 90), ccxt.InsufficientFunds
    )
    await refused("an order that is gone", exchange.cancel_order_ws(order["id"]), ccxt.OrderNotFound)


async def main() -> None:
    keys = {"apiKey": os.environ["MARKET_KEY"], "secret": os.environ["MARKET_SECRET"]}
    exchange = ccxt.pro.kraken({**keys, "urls": {"api": URLS}, "enableRateLimit": False})
    stranger = ccxt.pro.kraken({**keys, "secret": "AAAA", "urls": {"api": URLS}, "enableRateLimit": False})
    try:
        for part in (read_the_market, watch_the_market, trade_by_rest, trade_by_socket):
            print(part.__name__.replace("_", " "))
            await part(exchange)
        await refused("a wrong secret", stranger.fetch_balance(), ccxt.ExchangeError)
    finally:
        await exchange.close()
        await stranger.close()


print("ccxt", ccxt.__version__)
asyncio.run(main())
