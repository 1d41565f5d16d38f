"""Two accounts never see each other's objects: every route and every method, with one's objects and the other's key.

A has an order that rests, one that was filled, trades and keys; B asks for all of it by name. Nothing that B is
told may hold a word that is A's, and nothing of A's may change. A route or method that has no case here fails the test.
"""

import json
import re
import time
from dataclasses import dataclass
from typing import Any, get_args

import aiohttp
import pytest

from gateway.client import ApiKey
from gateway.facade.calls import FacadeRoute
from gateway.facade.routes import ROUTES as FACADE
from gateway.openapi import operation_id
from gateway.page import PLACES
from gateway.rest.api import Access, Route
from gateway.rest.routes import ROUTES
from gateway.ws.methods import METHODS
from gateway.ws.subscriptions import PRIVATE_STATES, Channel
from tests.e2e.rest import Json, Market, Rest, order
from tests.e2e.sockets import Socket, connected
from tests.e2e.test_facade import Client

PRIVATE = ("executions", *PRIVATE_STATES)
MINE = "a-secret"  # a word in all that A names


@dataclass
class Pair:
    """objects: A's, by the names of path parameters."""

    market: Market
    a: Rest
    b: Rest
    objects: dict[str, str]

    def theirs(self) -> set[str]:
        """Words that only A may read. Ids of trades are everybody's."""
        assert self.a.key is not None
        return {MINE, "ACCOUNT-A", self.a.key.key, self.a.key.secret, *(self.objects[n] for n in ("order_id", "key"))}

    async def state(self) -> list[Any]:
        """All that A sees of itself."""
        paths = ("orders?status=all", "executions", "trades", "statement", "balances", "positions", "api-keys")
        return [(await self.a.get(f"/v1/{path}")).body for path in paths]


@pytest.fixture
async def pair(market: Market) -> Pair:
    stack = market.stack
    a, b = market.anyone.of(await stack.investor("ACCOUNT-A")), market.anyone.of(await stack.investor("B2", cash=1))
    await market.seller.post("/v1/orders", order("sell", "97.00", "50.00"))
    filled = await a.post("/v1/orders", order("buy", "97.00", "50.00", cl_ord_id=f"{MINE}-1", tag=f"{MINE}-tag"))
    assert filled.body["order_status"] == "filled"
    resting = await a.post("/v1/orders", order("buy", "90.00", "10.00", cl_ord_id=f"{MINE}-2", tag=f"{MINE}-tag"))
    key = await a.post("/v1/api-keys", {"scopes": ["read"], "label": MINE})
    objects = {
        "order_id": resting.body["order_id"],
        "cid": f"{MINE}-2",
        "key": key.body["key"],
        "loan_id": "L1",
        "name": "open",
        "account_id": "ACCOUNT-A",
        "session_id": f"ws_{MINE}",
    }
    return Pair(market, a, b, objects)


def without_echo(told: Json, asked: str) -> str:
    """Return an answer as text, without the path that was asked for."""
    return json.dumps({name: value for name, value in told.items() if name != "instance" or value not in asked})


OWN = [route for route in ROUTES if route.access not in (Access.PUBLIC, Access.ADMIN, Access.TRANSFER)]
OTHERS_OBJECT = re.compile(r"{(order_id|cid|key)}")
NAMED = {  # bodies that name A's objects
    "/v1/orders/batch": {"orders": [order("buy", "1.00", "1.00", cl_ord_id=f"{MINE}-2")]},
    "/v1/orders/cancel-all": {"tag": f"{MINE}-tag"},
    "/v1/orders": order("buy", "1.00", "1.00", cl_ord_id=f"{MINE}-2"),
}


@pytest.mark.parametrize("route", OWN, ids=operation_id)
async def test_a_route_shows_and_changes_nothing_of_anothers(pair: Pair, route: Route) -> None:
    before = await pair.state()
    path = re.sub(r"{(\w+)}", lambda found: pair.objects[found[1]], route.path)
    body = None if route.doc.body is None else NAMED.get(route.path, route.doc.example)
    told = await pair.b.call(route.method, path, body)
    if OTHERS_OBJECT.search(route.path):
        assert told.status == 404, told.body
    shown = without_echo(told.body, path)
    leaked = {word for word in pair.theirs() if word in shown} - ({MINE} if body else set())  # B's own words come back
    assert not leaked
    assert await pair.state() == before


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES if route.access is Access.PUBLIC}))
async def test_a_public_route_tells_of_no_account(pair: Pair, path: str) -> None:
    if path.startswith(("/docs", "/openapi", "/asyncapi")):
        pytest.skip("a file, the same for every market")
    path = re.sub(r"{(\w+)}", lambda found: pair.objects[found[1]], path)
    query = "?side=buy&qty=1.00" if path.endswith("/quote") else ""
    told = await pair.market.anyone.get(path + query) if path not in ("/v1/users", "/v1/session") else None
    if told is not None:
        assert not {word for word in pair.theirs() if word in json.dumps(told.body)}


@pytest.mark.parametrize("route", [route for route in ROUTES if route.access is not Access.PUBLIC], ids=operation_id)
async def test_a_route_wants_a_key_and_its_scope(pair: Pair, route: Route) -> None:
    path = re.sub(r"{(\w+)}", lambda found: pair.objects[found[1]], route.path)
    seq = pair.market.stack.engine.seq
    told = await pair.market.anyone.call(route.method, path, route.doc.example)
    assert (told.status, told.code) == (401, "auth_required")
    if route.access is not Access.SIGNED:  # a session's routes take no key, whatever its scopes
        others = {"read", "trade", "transfer", "admin"} - {route.access}
        wrong = pair.market.anyone.of(await pair.market.stack.key("B2", *sorted(others)))
        told = await wrong.call(route.method, path, route.doc.example)
        assert (told.status, told.code) == (403, "auth_permission_denied")
    assert pair.market.stack.engine.seq == seq


async def test_nothing_is_served_but_what_says_who_may_call_it(market: Market) -> None:
    served = {(route.method, route.resource.canonical) for route in market.stack.app.router.routes() if route.resource}
    told = {(route.method, route.path) for route in ROUTES}
    assert all(route.scope is None or route.path.startswith("/0/private/") for route in FACADE)
    pages = {*PLACES, "/assets/{name}", "/metrics", "/ws/v2", "/v2", "/ws/echo"}  # public, and they only read
    rest = served - told - {("*", "/0/{call}")}
    assert {path for _, path in rest} == pages
    assert {method for method, _ in rest} == {"GET", "HEAD"}


PRIVATE_CALLS = [route for route in FACADE if route.scope is not None]


@pytest.mark.parametrize("route", PRIVATE_CALLS, ids=lambda route: route.name)
async def test_a_call_of_the_facade_shows_and_changes_nothing_of_anothers(pair: Pair, route: FacadeRoute) -> None:
    before = await pair.state()
    assert pair.a.key is not None
    assert pair.b.key is not None
    [line, *_] = (await facade(pair, "Ledgers", pair.a.key, asset="USD", type="deposit"))["result"]["ledger"]
    named = {"txid": pair.objects["order_id"], "cl_ord_id": f"{MINE}-2", "id": line, "pair": "L1/USD", "timeout": "0"}
    order = {"type": "buy", "ordertype": "limit", "volume": "1", "price": "1", "order_qty": "1"}
    wanted = {name: value for name, value in (named | order).items() if name in route.fields}
    if route.name == "Ledgers":
        wanted.pop("type")
    if "txid" in wanted and route.name != "QueryOrders":
        wanted.pop("cl_ord_id", None)
    told = await facade(pair, route.name, pair.b.key, **wanted)
    if route.name in ("AmendOrder", "EditOrder", "CancelOrder"):
        assert told["error"] == ["EOrder:Unknown order"]
    if route.name == "QueryLedgers":
        assert told["result"] == {}
    own = {MINE, pair.objects["order_id"]}  # B asked with these
    assert not {word for word in pair.theirs() - own if word in json.dumps(told)}
    assert pair.objects["order_id"] not in json.dumps(told["result"])
    assert await pair.state() == before


async def facade(pair: Pair, name: str, key: ApiKey, /, **fields: str) -> Json:
    async with aiohttp.ClientSession() as http:
        return await Client(pair.market.stack.url, http, key).post(name, nonce=str(time.time_ns()), **fields)


# The socket

ANYBODYS = {"ping", "login", "logout", "subscribe", "unsubscribe", "resync"}
ASKED: dict[str, Json] = {
    "add_order": {"symbol": "L1/USD", "side": "buy", "limit_price": "1.00", "order_qty": "1.00", "cl_ord_id": "x"},
    "amend_order": {"cl_ord_id": f"{MINE}-2", "order_qty": "5.00"},
    "batch_add": {"orders": [{"symbol": "L1/USD", "side": "buy", "limit_price": "1.00", "order_qty": "1.00"}]},
    "batch_cancel": {"cl_ord_id": [f"{MINE}-2"]},
    "cancel_all": {"tag": f"{MINE}-tag"},
    "cancel_all_orders_after": {"timeout": 0},
    "cancel_order": {"cl_ord_id": f"{MINE}-2"},
    "get_order": {"cl_ord_id": f"{MINE}-2"},
    "mass_quote": {"quote_set": "q", "quotes": [{"symbol": "L1/USD", "bid": "1.00", "bid_qty": "0"}]},
    "quote_cancel": {},
    "reset_mmp": {"group": MINE},
    "resolve_order": {"cl_ord_id": f"{MINE}-1"},
    "set_mmp": {"group": MINE, "max_fills": 1, "max_face": "1.00", "window_ms": 1_000},
    "unblock": {},
}
FOUND = {"amend_order", "batch_cancel", "cancel_order", "get_order"}  # what must not be found


@pytest.mark.parametrize("method", sorted(METHODS))
async def test_a_method_says_who_may_call_it(pair: Pair, method: str) -> None:
    async with connected(pair.market.stack.ws_url) as socket:
        code = (await socket.call(method, **ASKED.get(method, {}))).get("error_detail", {}).get("code")
        assert (code == "auth_required") == (method not in ANYBODYS)


@pytest.mark.parametrize("method", sorted(METHODS.keys() - ANYBODYS))
async def test_a_method_shows_and_changes_nothing_of_anothers(pair: Pair, method: str) -> None:
    before = await pair.state()
    async with connected(pair.market.stack.ws_url, pair.b.key) as socket:
        told = await socket.call(method, **ASKED[method])
        if method in FOUND:
            assert "unknown_order" in json.dumps(told)
        if method == "cancel_all":
            assert told["result"]["count"] == 0
        if method == "resolve_order":
            assert told["result"]["exists"] is False
        if method in ("cancel_order", "batch_cancel"):
            told = await socket.call(method, order_id=[pair.objects["order_id"]])
            assert "unknown_order" in json.dumps(told)
        own = {MINE, pair.objects["order_id"]}  # B asked with these
        assert not {word for word in pair.theirs() - own if word in json.dumps(told)}
    assert await pair.state() == before


@pytest.mark.parametrize("channel", get_args(Channel))
async def test_a_channel_says_who_may_read_it(pair: Pair, channel: str) -> None:
    asked: Json = {"channel": channel}
    if channel not in ("status", "heartbeat", "board", *PRIVATE):
        asked["symbol"] = ["L1/USD"]
    async with connected(pair.market.stack.ws_url) as socket:
        told = await socket.call("subscribe", **asked)
        assert (told.get("error_detail", {}).get("code") == "auth_required") == (channel in PRIVATE)
        assert channel in PRIVATE or told["success"], told


@pytest.mark.parametrize("channel", PRIVATE)
async def test_a_private_channel_tells_only_of_its_owner(pair: Pair, channel: str) -> None:
    """Also while A trades: B hears of its own order only."""
    async with connected(pair.market.stack.ws_url, pair.b.key) as socket:
        assert (await socket.call("subscribe", channel=channel))["success"]
        await pair.a.post("/v1/orders", order("buy", "91.00", "1.00", cl_ord_id=f"{MINE}-3"))
        await heard_all(socket)
        assert not {word for word in pair.theirs() if word in json.dumps(socket.seen)}


async def heard_all(socket: Socket) -> None:
    """Wait until what was sent before has come."""
    await socket.call("ping")
    await socket.push("heartbeat")
