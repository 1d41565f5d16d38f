"""The façade for existing clients: signatures and nonces, the shapes of its answers, refusals in its words."""

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from gateway.access.auth import KeyRing
from gateway.client import ApiKey
from gateway.facade.calls import FacadeRoute
from gateway.facade.routes import ROUTES
from tests.builders import buy, deposit, open_account, sell
from tests.e2e.sockets import connected
from tests.e2e.stack import Stack, running_stack

Json = dict[str, Any]
L1, L2 = "L1/USD", "L2/USD"


class Client:
    """Speaks the façade's dialect with one key: form bodies, nonces that grow."""

    def __init__(self, url: str, http: aiohttp.ClientSession, key: ApiKey | None = None) -> None:
        self.url, self.http, self.key = url, http, key
        self.nonces = itertools.count(1_700_000_000_000)

    def of(self, key: ApiKey) -> "Client":
        return Client(self.url, self.http, key)

    def signature(self, path: str, nonce: str, body: bytes) -> str:
        assert self.key is not None
        signed = path.encode() + hashlib.sha256(nonce.encode() + body).digest()
        return base64.b64encode(hmac.new(base64.b64decode(self.key.secret), signed, hashlib.sha512).digest()).decode()

    async def post(self, name: str, *, nonce: str | None = None, as_json: bool = False, **fields: Any) -> Json:
        assert self.key is not None
        path, nonce = f"/0/private/{name}", str(next(self.nonces)) if nonce is None else nonce
        said = {"nonce": nonce, **fields}
        body = json.dumps(said).encode() if as_json else urlencode(said).encode()
        kind = "application/json" if as_json else "application/x-www-form-urlencoded"
        return await self.raw(path, body, self.signature(path, nonce, body), kind)

    async def raw(
        self, path: str, body: bytes, sign: str, kind: str = "application/x-www-form-urlencoded", key: str | None = None
    ) -> Json:
        headers = {"API-Key": key or (self.key.key if self.key else ""), "API-Sign": sign, "Content-Type": kind}
        async with self.http.post(self.url + path, data=body, headers=headers) as response:
            assert response.status == 200
            told: Json = await response.json()
            assert told.keys() == {"error", "result"}
            return told

    async def ok(self, name: str, **fields: Any) -> Json:
        told = await self.post(name, **fields)
        assert told["error"] == [], told
        result: Json = told["result"]
        return result

    async def get(self, name: str, **params: Any) -> Json:
        async with self.http.get(f"{self.url}/0/public/{name}", params=params) as response:
            assert response.status == 200
            told: Json = await response.json()
            return told

    async def public(self, name: str, **params: Any) -> Json:
        told = await self.get(name, **params)
        assert told["error"] == [], told
        result: Json = told["result"]
        return result


@pytest.fixture
async def anyone(stack: Stack) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as http:
        yield Client(stack.url, http)


@pytest.fixture
async def buyer(stack: Stack, anyone: Client) -> Client:
    return anyone.of(await stack.investor("B"))


@pytest.fixture
async def seller(stack: Stack, anyone: Client) -> Client:
    return anyone.of(await stack.key("ORIG"))


ORDER = {"pair": L1, "type": "buy", "ordertype": "limit", "volume": "100", "price": "98"}


async def test_time_and_status(anyone: Client) -> None:
    told = await anyone.public("Time")
    assert told["unixtime"] > 1_700_000_000
    assert told["rfc1123"].endswith(" GMT")
    assert (await anyone.public("SystemStatus"))["status"] == "online"


async def test_pairs_are_keyed_by_symbol(anyone: Client) -> None:
    pairs = await anyone.public("AssetPairs")
    assert list(pairs) == [L1, L2]
    assert await anyone.public("AssetPairs", pair=L1) == {L1: pairs[L1]}
    assert await anyone.public("AssetPairs", pair=f"{L2},{L1}") == pairs
    shown = {name: pairs[L1][name] for name in ("altname", "wsname", "base", "quote", "status")}
    assert shown == {"altname": L1, "wsname": L1, "base": "L1", "quote": "USD", "status": "online"}
    figures = {name: pairs[L1][name] for name in ("pair_decimals", "lot_decimals", "ordermin", "costmin", "tick_size")}
    assert figures == {
        "pair_decimals": 2,
        "lot_decimals": 2,
        "ordermin": "1.00",
        "costmin": "0.01",
        "tick_size": "0.01",
    }
    assert pairs[L1]["fees"] == [[0, 0.0]]
    assert list(await anyone.public("Assets")) == ["USD", "L1", "L2"]
    assert (await anyone.public("Assets", asset="L2"))["L2"]["decimals"] == 2


async def test_a_pair_that_there_is_not(anyone: Client) -> None:
    for call in ("AssetPairs", "Depth", "Ticker", "Trades"):
        told = await anyone.get(call, pair="L9/USD")
        assert told == {"error": ["EQuery:Unknown asset pair", "ELoan:Unknown"], "result": {}}
    assert (await anyone.get("Depth"))["error"][0] == "EGeneral:Invalid arguments:pair"
    assert (await anyone.get("Depth", pair=L1, depth=5))["error"][0] == "EGeneral:Unknown field:depth"


async def test_depth_ticker_and_trades(stack: Stack, anyone: Client, buyer: Client) -> None:
    nothing = await anyone.public("Ticker", pair=L1)
    assert nothing[L1]["a"] == [None, None, None]
    await stack.do(
        sell("ORIG", 9_900, 50_00), sell("ORIG", 9_901, 10_00), buy("B", 9_900, 20_00), buy("B", 9_800, 5_00)
    )
    book = (await anyone.public("Depth", pair=L1))[L1]
    assert [level[:2] for level in book["asks"]] == [["99.00", "30.00"], ["99.01", "10.00"]]
    assert [level[:2] for level in book["bids"]] == [["98.00", "5.00"]]
    assert len((await anyone.public("Depth", pair=L1, count=1))[L1]["asks"]) == 1
    ticker = (await anyone.public("Ticker"))[L1]
    assert (ticker["a"], ticker["c"]) == (["99.00", "30", "30.00"], ["99.00", "20.00"])
    assert (ticker["v"], ticker["t"], ticker["o"]) == (["20.00", "20.00"], [1, 1], "99.00")
    told = await anyone.public("Trades", pair=L1)
    [[price, volume, _, side, kind, _, number]] = told[L1]
    assert (price, volume, side, kind, number[:2]) == ("99.00", "20.00", "b", "l", "T-")
    assert (await anyone.public("Trades", pair=L1, since=told["last"]))[L1] == []
    assert await anyone.public("Trades", pair=L1, since=0) == told


async def test_trades_go_on_from_last_without_a_hole(stack: Stack, anyone: Client, buyer: Client) -> None:
    """Trades of one command bear one time: a page is never cut between them."""
    for _ in range(3):
        await stack.do(*(sell("ORIG", 9_900, 1_00) for _ in range(4)), buy("B", 9_900, 4_00))
    everything = (await anyone.public("Trades", pair=L1))[L1]
    seen, since = [], "0"
    for _ in range(6):
        told = await anyone.public("Trades", pair=L1, since=since, count=3)
        seen += told[L1]
        since = told["last"]
    assert seen == everything
    assert len(seen) == 12


async def test_candles(stack: Stack, anyone: Client, buyer: Client) -> None:
    assert await anyone.public("OHLC", pair=L1) == {L1: [], "last": 0}
    await stack.do(sell("ORIG", 9_900, 4_00), sell("ORIG", 9_950, 4_00), buy("B", 9_950, 8_00))
    told = await anyone.public("OHLC", pair=L1, interval=1440)
    [[begins, *figures]] = told[L1]
    assert figures == ["99.00", "99.50", "99.00", "99.50", "99.25", "8.00", 2]
    assert told["last"] == begins
    assert begins % 86_400 == 0
    assert await anyone.public("OHLC", pair=L1, interval=1440, since=begins) == told
    assert (await anyone.public("OHLC", pair=L1, interval=1440, since=begins + 1))[L1] == []
    assert (await anyone.get("OHLC", pair=L1, interval=7))["error"][0] == "EGeneral:Invalid arguments:interval"


async def test_a_nonce_is_good_once(anyone: Client, buyer: Client) -> None:
    assert (await buyer.post("Balance", nonce="10"))["error"] == []
    for nonce in ("10", "9", "", "x", "-11", "11.0", str(2**63)):
        assert await buyer.post("Balance", nonce=nonce) == {"error": ["EAPI:Invalid nonce"], "result": {}}
    assert (await buyer.post("Balance", nonce="11"))["error"] == []
    wrong = await buyer.raw("/0/private/Balance", b"nonce=12", "AAAA")
    assert wrong["error"] == ["EAPI:Invalid signature", "EAuth:Invalid signature"]
    assert (await buyer.post("Balance", nonce="12"))["error"] == [], "a wrong signature uses up nothing"
    assert (await buyer.raw("/0/private/Balance", b"nonce=13&nonce=14", "AAAA"))["error"] == ["EAPI:Invalid nonce"]


async def test_a_nonce_is_good_once_also_after_a_restart(database: str) -> None:
    async with running_stack(database) as stack, aiohttp.ClientSession() as http:
        client = Client(stack.url, http, await stack.investor("B"))
        assert (await client.post("Balance", nonce="10"))["error"] == []
        reborn = KeyRing(stack.pool, clock=lambda: 0)
        await reborn.load()
        stack.keys.live, stack.keys._replays = reborn.live, reborn._replays
        assert (await client.post("Balance", nonce="10"))["error"] == ["EAPI:Invalid nonce"]
        assert (await client.post("Balance", nonce="11"))["error"] == []


@pytest.mark.parametrize(
    ("key", "sign", "body", "said"),
    [
        pytest.param("", "", b"nonce=1", "EAPI:Invalid key", id="no key"),
        pytest.param("ak_nobody", "AAAA", b"nonce=1", "EAPI:Invalid key", id="unknown key"),
    ],
)
async def test_unproved_calls_are_refused(anyone: Client, key: str, sign: str, body: bytes, said: str) -> None:
    assert (await anyone.raw("/0/private/Balance", body, sign, key=key))["error"][0] == said


async def test_the_signature_covers_path_nonce_and_body(buyer: Client) -> None:
    body = b"nonce=5&txid=O-1"
    sign = buyer.signature("/0/private/CancelOrder", "5", body)
    for path, sent in (("/0/private/QueryOrders", body), ("/0/private/CancelOrder", b"nonce=5&txid=O-2")):
        assert (await buyer.raw(path, sent, sign))["error"][0] == "EAPI:Invalid signature"
    assert (await buyer.raw("/0/private/CancelOrder", body, sign))["error"] == ["EOrder:Unknown order"]


async def test_a_key_without_the_scope_may_not_trade(stack: Stack, anyone: Client) -> None:
    await stack.do(open_account("R"), deposit("R", 100_00))
    reader = anyone.of(await stack.key("R", "read"))
    assert (await reader.post("AddOrder", **ORDER))["error"] == [
        "EGeneral:Permission denied",
        "EAuth:Permission denied",
    ]
    assert await reader.ok("Balance") == {"USD": "100.00"}


async def test_calls_that_there_are_not(stack: Stack, anyone: Client) -> None:
    for method, path in (("GET", "/0/public/Nothing"), ("GET", "/0/private/Balance"), ("PUT", "/0/public/Time")):
        async with anyone.http.request(method, stack.url + path) as response:
            assert response.status == 200
            assert (await response.json())["error"][0] == "EGeneral:Unknown method"


async def test_the_life_of_an_order(stack: Stack, buyer: Client, seller: Client) -> None:
    placed = await buyer.ok("AddOrder", **ORDER, cl_ord_id="c-1", oflags="post", userref="7")
    assert placed["descr"] == {"order": "buy 100.00 L1/USD @ limit 98.00"}
    [txid] = placed["txid"]
    assert (await buyer.ok("AddOrder", **ORDER, cl_ord_id="c-1", oflags="post", userref="7"))["txid"] == [txid]
    opened = (await buyer.ok("OpenOrders"))["open"]
    assert list(opened) == [txid]
    shown = opened[txid]
    assert (shown["status"], shown["vol"], shown["vol_exec"], shown["userref"]) == ("open", "100.00", "0.00", 7)
    assert shown["descr"] == {
        **{"pair": L1, "type": "buy", "ordertype": "limit", "price": "98.00", "price2": "0", "leverage": "none"},
        **{"order": "buy 100.00 L1/USD @ limit 98.00", "close": ""},
    }
    amended = await buyer.ok("AmendOrder", txid=txid, order_qty="80", limit_price="98.5")
    assert amended["order_id"] == txid
    await seller.ok("AddOrder", pair=L1, type="sell", ordertype="limit", volume="30", price="98.50")
    told = (await buyer.ok("QueryOrders", txid=f"{txid},O-999999", trades="true"))[txid]
    assert (told["vol"], told["vol_exec"], told["price"], len(told["trades"])) == ("80.00", "30.00", "98.50", 1)
    assert await seller.ok("QueryOrders", txid=txid) == {}
    [number] = told["trades"]
    mine = (await buyer.ok("TradesHistory"))["trades"]
    assert list(mine) == [number]
    assert (mine[number]["ordertxid"], mine[number]["maker"], mine[number]["cost"]) == (txid, True, "29.55")
    assert (await seller.ok("QueryTrades", txid=number))[number]["type"] == "sell"
    assert await buyer.ok("CancelOrder", txid=txid) == {"count": 1}
    assert (await buyer.post("CancelOrder", txid=txid))["error"] == ["EOrder:Unknown order"]
    closed = (await buyer.ok("ClosedOrders"))["closed"]
    assert (closed[txid]["status"], closed[txid]["reason"]) == ("canceled", "user")
    assert (await buyer.ok("OpenOrders"))["open"] == {}


async def test_balances_show_what_orders_hold(buyer: Client, seller: Client) -> None:
    await seller.ok("AddOrder", pair=L1, type="sell", ordertype="limit", volume="40", price="99")
    await buyer.ok("AddOrder", pair=L1, type="buy", ordertype="market", volume="10")
    told = await seller.ok("BalanceEx")
    assert told["L1"]["hold_trade"] == "30.00"
    assert (await buyer.ok("Balance"))["L1"] == "10.00"


async def test_several_orders_at_once_and_their_end(buyer: Client) -> None:
    orders = [
        {"ordertype": "limit", "type": "buy", "volume": "10", "price": 97.5, "cl_ord_id": "a"},
        {"ordertype": "limit", "type": "buy", "volume": "0", "price": "97", "cl_ord_id": "b"},
        {"ordertype": "limit", "type": "buy", "volume": "10", "price": "97", "cl_ord_id": "c"},
    ]
    told = (await buyer.ok("AddOrderBatch", as_json=True, pair=L1, orders=orders))["orders"]
    assert told[1] == {"error": "EGeneral:Invalid arguments:volume"}
    ids = [told[0]["txid"][0], told[2]["txid"][0]]
    assert list((await buyer.ok("OpenOrders"))["open"]) == ids[::-1]
    assert await buyer.ok("CancelOrderBatch", as_json=True, orders=[ids[0], "O-99999"]) == {"count": 1}
    assert await buyer.ok("CancelAll") == {"count": 1}


async def test_a_dead_mans_switch_is_the_accounts(buyer: Client) -> None:
    armed = await buyer.ok("CancelAllOrdersAfter", timeout="60")
    assert armed["triggerTime"] > armed["currentTime"]
    assert (await buyer.ok("CancelAllOrdersAfter", timeout="0"))["triggerTime"] == "0"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"price": "1000"}, ["EOrder:Invalid price:Invalid price argument", "EOrder:Invalid price"]),
        ({"price": "1e2"}, ["EGeneral:Invalid arguments:price", "EGeneral:Invalid arguments"]),
        ({"volume": "0.5"}, ["EOrder:Order minimum not met", "EOrder:Order minimum not met (volume too low)"]),
        ({"volume": "1.001"}, ["EGeneral:Invalid arguments:volume", "EOrder:Invalid quantity"]),
        (
            {"volume": "90000000"},
            ["EOrder:Insufficient funds", "EOrder:Insufficient funds (insufficient user funds)"],
        ),
        ({"type": "sell"}, ["EOrder:Insufficient claims"]),
        ({"type": "hold"}, ["EGeneral:Invalid arguments:type", "EGeneral:Invalid arguments"]),
        ({"ordertype": "stop-loss"}, ["EGeneral:Invalid arguments:ordertype", "EGeneral:Invalid arguments"]),
        ({"leverage": "2:1"}, ["EGeneral:Invalid arguments:leverage", "EGeneral:Invalid arguments"]),
        ({"price2": "5"}, ["EGeneral:Unknown field:price2", "EGeneral:Unknown field"]),
        ({"oflags": "viqc"}, ["EGeneral:Invalid arguments:oflags", "EGeneral:Invalid arguments"]),
        ({"timeinforce": "FOK"}, ["EOrder:Cannot fill"]),
        ({"expiretm": "5"}, ["EGeneral:Invalid arguments:expiretm", "EGeneral:Invalid arguments"]),
        ({"pair": "L9/USD"}, ["EQuery:Unknown asset pair", "ELoan:Unknown"]),
    ],
)
async def test_refusals_in_words_that_clients_know(buyer: Client, more: Json, said: list[str]) -> None:
    assert await buyer.post("AddOrder", **(ORDER | more)) == {"error": said, "result": {}}
    assert (await buyer.ok("OpenOrders"))["open"] == {}


async def test_a_check_places_nothing(buyer: Client) -> None:
    assert await buyer.ok("AddOrder", **ORDER, validate="true") == {
        "descr": {"order": "buy 100.00 L1/USD @ limit 98.00"}
    }
    assert (await buyer.ok("OpenOrders"))["open"] == {}


async def test_words_of_an_order_that_lasts(buyer: Client) -> None:
    await buyer.ok("AddOrder", **ORDER, expiretm="+60", stptype="cancel-oldest", starttm="0")
    [shown] = (await buyer.ok("OpenOrders"))["open"].values()
    assert shown["timeinforce"] == "GTD"
    assert shown["expiretm"] - shown["opentm"] == pytest.approx(60, abs=1)


NASTY = ["", " ", "0", "-1", "1e5", "NaN", "x" * 5_000, "é", "\0", "٣", str(10**30), "99999999999", "true", "None", ","]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_no_field_of_a_call_breaks_us(stack: Stack, buyer: Client, route: FacadeRoute) -> None:
    """Whatever stands in a field, the answer has the façade's shape and HTTP 200: no failure of ours."""
    call = buyer.get if route.scope is None else buyer.post
    for field in (route.fields | route.fixed.keys()) - {"timeout"}:
        for value in NASTY:
            told = await call(route.name, **{**(ORDER if route.name == "AddOrder" else {}), field: value})
            assert isinstance(told["error"], list)
    for field in route.lists:
        for value in (None, 5, [], [[]], [None], ["x"], [{"a": {}}], [{"price": []}], {"a": 1}, ["\0"], [{}] * 51):
            told = await buyer.post(route.name, as_json=True, pair=L1, **{field: value})
            assert told["error"] or "error" in told["result"]["orders"][0] or told["result"] == {"count": 0}
    stack.engine._venue.state.check_invariants()


async def test_fields_that_say_what_is_so_anyway(buyer: Client) -> None:
    """Some clients always send them."""
    await buyer.ok("AddOrder", **ORDER, leverage="none", reduce_only="False", starttm="0", validate="False")
    await buyer.ok("TradesHistory", type="all", trades="False", ledgers="False", consolidate_taker="True")
    await buyer.ok("ClosedOrders", closetime="both", trades="False")
    assert (await buyer.post("TradesHistory", type="no position"))["error"][0] == "EGeneral:Invalid arguments:type"


async def test_bodies_that_are_no_form(stack: Stack, buyer: Client) -> None:
    for kind, body in (("text/plain", b"nonce=1"), ("application/json", b"[]"), ("application/json", b"{")):
        told = await buyer.raw("/0/private/Balance", body, "AAAA", kind)
        assert told["error"][0] == "EGeneral:Invalid arguments", told
    for body in (b"nonce=\xff", b"nonce", b"a=1&" * 200):
        assert (await buyer.raw("/0/private/Balance", body, "AAAA"))["error"][0].startswith("E")
    assert (await buyer.raw("/0/private/Balance", b"a" * (2 << 20), "AAAA"))["error"][0] == "EGeneral:Invalid arguments"


async def test_fills_bear_what_existing_clients_read(stack: Stack, buyer: Client) -> None:
    await stack.do(sell("ORIG", 9_900, 40_00))
    async with connected(stack.ws_url, buyer.key) as socket:
        await socket.call("subscribe", channel="executions")
        await socket.call("add_order", symbol=L1, side="buy", order_type="market", order_qty="40")
        rows: list[Json] = []
        while not any(row["exec_type"] == "trade" for row in rows):
            rows += (await socket.push("executions"))["data"]
        assert (rows[-1]["cost"], rows[-1]["fees"]) == (rows[-1]["principal"], [{"asset": "USD", "qty": "0.00"}])
        assert (await socket.call("subscribe", channel="ticker", symbol=[L1], event_trigger="bbo"))["success"]
        refused = await socket.call("subscribe", channel="book", symbol=[L1], event_trigger="bbo")
        assert refused["error_detail"]["field"] == "event_trigger"


async def test_a_token_opens_the_private_socket(stack: Stack, buyer: Client) -> None:
    told = await buyer.ok("GetWebSocketsToken")
    assert told["expires"] == 900
    async with connected(stack.ws_url.replace("/ws/v2", "/v2")) as socket:
        ack = await socket.call(
            *("add_order",),
            **{"symbol": L1, "side": "buy", "order_type": "limit", "limit_price": 98, "order_qty": 100},
            token=told["token"],
        )
        assert ack["success"]
    assert list((await buyer.ok("OpenOrders"))["open"]) == [ack["result"]["order_id"]]
