"""python-kraken-sdk's REST and socket clients, told nothing but other URLs: look, place, amend, cancel, listen."""

import asyncio
import os
from typing import Any

import kraken.base_api
from kraken.exceptions import KrakenInsufficientFundsError, KrakenUnknownOrderError
from kraken.spot import Market, SpotWSClient, Trade, User
from kraken.spot.websocket import SpotWSClientBase

URL = os.environ["MARKET_URL"]
KEYS = {"key": os.environ["MARKET_KEY"], "secret": os.environ["MARKET_SECRET"]}
SYMBOL = os.environ["MARKET_SYMBOLS"].split(",")[0]
LOAN, CURRENCY = SYMBOL.split("/")
LIMIT = {"ordertype": "limit", "side": "buy", "pair": SYMBOL, "truncate": False}

kraken.base_api.SpotClient.URL = kraken.base_api.SpotAsyncClient.URL = URL
SpotWSClientBase.WS_URL = SpotWSClientBase.AUTH_WS_URL = URL.replace("http", "ws", 1)


def look() -> None:
    market = Market()
    assert LOAN in market.get_assets()
    assert market.get_asset_pairs(pair=SYMBOL)[SYMBOL]["status"] == "online"
    assert market.get_ticker(pair=SYMBOL)[SYMBOL]["a"][0]
    assert len(market.get_order_book(pair=SYMBOL, count=10)[SYMBOL]["asks"]) == 10
    assert market.get_recent_trades(pair=SYMBOL)[SYMBOL]
    assert market.get_ohlc(pair=SYMBOL)[SYMBOL]
    assert market.get_system_status()["status"] == "online"
    print("  market: assets, pairs, ticker, book, trades, candles, status")


def trade() -> None:
    user, orders = User(**KEYS), Trade(**KEYS)
    assert float(user.get_account_balance()[CURRENCY]) > 0
    assert float(user.get_balances()[CURRENCY]["balance"]) > 0
    [txid] = orders.create_order(**LIMIT, volume=10.5, price=90.25, cl_ord_id="sdk-1")["txid"]
    assert orders.amend_order(txid=txid, order_qty=9, limit_price=90.5)["amend_id"]
    assert user.get_open_orders(trades=True)["open"][txid]["vol"] == "9.00"
    assert orders.cancel_order(txid=txid) == {"count": 1}
    assert user.get_closed_orders(trades=True)["closed"][txid]["status"] == "canceled"
    [bought] = orders.create_order(ordertype="market", side="buy", pair=SYMBOL, volume=5, truncate=False)["txid"]
    assert user.get_orders_info(txid=bought, trades=True)[bought]["vol_exec"] == "5.00"
    mine = user.get_trades_history()["trades"]
    ids = [name for name, each in mine.items() if each["ordertxid"] == bought]
    assert user.get_trades_info(txid=ids[0])[ids[0]]["pair"] == SYMBOL
    both = [{"ordertype": "limit", "type": "buy", "volume": "5", "price": price} for price in ("90", "90.1")]
    placed = orders.create_order_batch(orders=both, pair=SYMBOL)["orders"]
    assert orders.cancel_order_batch(orders=[placed[0]["txid"][0]]) == {"count": 1}
    assert orders.cancel_all_orders() == {"count": 1}
    assert orders.cancel_all_orders_after_x(timeout=0)["triggerTime"] == "0"
    for kind, call in (
        (KrakenInsufficientFundsError, lambda: orders.create_order(**LIMIT, volume=10**9, price=90)),
        (KrakenUnknownOrderError, lambda: orders.cancel_order(txid=txid)),
    ):
        try:
            call()
        except kind:
            continue
        raise AssertionError(f"not refused with {kind.__name__}")
    print("  orders: create, amend, cancel, batches, cancel all; balances, own orders and trades; refusals")


class Listener(SpotWSClient):
    def __init__(self) -> None:
        super().__init__(**KEYS)
        self.heard: list[dict[str, Any]] = []

    async def on_message(self, message: dict[str, Any]) -> None:
        self.heard.append(message)

    async def until(self, channel: str, **said: Any) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                for message in self.heard:
                    if said.items() <= message.items() and channel in (message.get("channel"), message.get("method")):
                        return message
                await asyncio.sleep(0.05)


async def listen() -> None:
    client = Listener()
    await client.start()
    for channel in ("executions", "balances"):
        await client.subscribe(params={"channel": channel})
    for channel in ("ticker", "trade", "book"):
        await client.subscribe(params={"channel": channel, "symbol": [SYMBOL]})
    for channel in ("executions", "balances", "ticker", "trade", "book"):
        await client.until(channel)
    await client.send_message(
        message={
            "method": "add_order",
            "params": {
                **{"symbol": SYMBOL, "side": "buy", "order_type": "limit"},
                **{"limit_price": 90.5, "order_qty": 5, "cl_ord_id": "sdk-ws-1"},
            },
        }
    )
    ack = await client.until("add_order")
    assert ack["success"], ack
    await client.send_message(message={"method": "cancel_order", "params": {"order_id": [ack["result"]["order_id"]]}})
    assert (await client.until("cancel_order"))["success"]
    await client.close()
    assert not client.exception_occur
    print("  socket: executions, balances, ticker, trade, book; an order placed and cancelled")


look()
trade()
asyncio.run(listen())
