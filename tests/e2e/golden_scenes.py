"""The conversations of docs/vectors/messages, one function per file. The docstring is the file's first line.

A name is a method or a channel, or what a client has to live through. Together they show every method, every channel,
every `exec_type` and every error that the socket can tell (tests/unit/gateway/test_golden_messages.py counts them).
"""

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from typing import Any

from gateway.access.rates import Bucket
from market.commands import (
    AssignRulebook,
    CancelAll,
    DefineRulebook,
    FreezeAccount,
    HaltLoan,
    Mode,
    RollDay,
    SetMode,
)
from market.ids import AccountId, LoanId
from market.venue.rulebook import OPEN
from tests.builders import DAY, buy, register, sell, service, servicing
from tests.e2e.golden import KEY, ME, OTHER, Scene, Stage
from tests.e2e.sockets import Json, login_params
from tests.patience import until

L1, L2 = "L1/USD", "L2/USD"
WRONG = "0" * 64


def limit(side: str, price: str, qty: str, symbol: str = L1, **more: Any) -> Json:
    return {"symbol": symbol, "side": side, "order_type": "limit", "limit_price": price, "order_qty": qty, **more}


@asynccontextmanager
async def watching(stage: Stage, channel: str, **params: Any) -> AsyncIterator[None]:
    """A connection that has subscribed to a channel and unsubscribes at the end."""
    async with stage.connected():
        await stage.say("subscribe", channel=channel, **params)
        yield
        await stage.say("unsubscribe", channel=channel, **params)


# Methods


async def ping(stage: Stage) -> None:
    """`ping` is answered by `pong`; `req_id` is a number or a string, or left out."""
    async with stage.connected():
        await stage.say("ping")
        await stage.say_raw('{"method":"ping","req_id":"any text"}')
        await stage.say_raw('{"method":"ping"}')


async def login(stage: Stage) -> None:
    """A login signs the challenge of its own connection; the third failure closes it."""
    async with stage.connected() as socket:
        stage.note("secret: c2VjcmV0IGJ5dGVz; sig = hex HMAC-SHA256 of ws-login, connection_id, challenge, api_key")
        await stage.login(session="mm-1", cancel_on_disconnect={"enabled": True, "grace_ms": 2000})
        await stage.say("logout")
        good = login_params(socket.greeting, stage.key)
        await stage.say("login", **good | {"sig": WRONG})
        await stage.say("login", **good | {"challenge": "another connection's", "sig": WRONG})
        await stage.say("login", last=True, **good | {"api_key": "ak_unknown", "sig": WRONG})
        await socket.closed()


async def token(stage: Stage) -> None:
    """Without a login a token says of each private request who asks (POST /v1/ws-token)."""
    async with stage.connected() as socket:
        await stage.say("add_order", **limit("buy", "97.00", "100.00"))
        params = login_params(socket.greeting, stage.key)
        who = stage.stack.keys.of_login(
            key=stage.key.key,
            signature=params["sig"],
            connection_id=socket.greeting["data"][0]["connection_id"],
            challenge=params["challenge"],
            peer=None,
        )
        made, _ = stage.stack.keys.new_token(who)
        stage.fix(made, "token-1")
        await stage.say("add_order", **limit("buy", "97.00", "100.00", cl_ord_id="t-1"), token=made)
        await stage.say("subscribe", channel="executions", token=made)


async def logout(stage: Stage) -> None:
    """A logout ends what is private on the connection: executions and balances are silent afterwards."""
    async with stage.connected(login=True):
        await stage.say("subscribe", channel="balances")
        await stage.say("logout")
        await stage.happens(buy(OTHER, 9_700, 10_00))
        await stage.say("cancel_all")


async def add_order(stage: Stage) -> None:
    """Orders of every kind, a repeat, a check that places nothing, and what is refused."""
    async with stage.connected(login=True):
        stage.note("a limit order; the same client order id again is answered with the first result")
        order = limit("buy", "97.00", "100.00", time_in_force="gtc", post_only=True, cl_ord_id="a-1", tag="curve")
        await stage.say("add_order", **order)
        await stage.say("add_order", **order)
        await stage.say("add_order", **order | {"limit_price": "97.01"})
        stage.note("checked and priced, not placed")
        await stage.say("add_order", **limit("buy", "98.00", "50.00"), validate=True)
        stage.note("an order that is filled on arrival, wholly and in part")
        await stage.happens(sell(OTHER, 9_850, 30_00))
        await stage.say("add_order", **limit("buy", "98.50", "10.00", cl_ord_id="a-2"))
        await stage.say("add_order", **limit("buy", "98.50", "50.00", time_in_force="ioc", cl_ord_id="a-3"))
        stage.note("at market, by yield, pegged to its yield, until a time, with what it may be refused for")
        await stage.happens(sell(OTHER, 9_850, 30_00))
        await stage.say("add_order", symbol=L1, side="buy", order_type="market", order_qty="5.00", cl_ord_id="a-4")
        by_yield = {"symbol": L2, "side": "buy", "order_type": "yield", "limit_yield": "0.18", "order_qty": "10.00"}
        await stage.say("add_order", **by_yield, cl_ord_id="a-5")
        await stage.say("add_order", **by_yield, peg="yield", cancel_on_payment=True, cl_ord_id="a-6")
        until_noon = {"time_in_force": "gtd", "expire_time": "2024-01-15T12:00:00Z"}
        await stage.say("add_order", **limit("sell", "99.50", "10.00", display_qty="2.00"), **until_noon)
        await stage.say("add_order", **limit("buy", "98.50", "40.00", time_in_force="fok"))
        await stage.say("add_order", **limit("buy", "98.50", "40.00", min_qty="30.00"))
        await stage.say("add_order", **limit("buy", "98.60", "1.00", post_only=True))
        stage.note("self-trade prevention acknowledges, then cancels")
        await stage.say("add_order", **limit("sell", "97.00", "5.00", stp_type="cancel_newest", cl_ord_id="a-7"))


async def amend_order(stage: Stage) -> None:
    """Less quantity keeps the place in the queue, all else loses it; `if_version` guards against a change meanwhile."""
    async with stage.connected(login=True):
        await stage.say("add_order", **limit("buy", "97.00", "100.00", cl_ord_id="b-1"))
        await stage.say("amend_order", cl_ord_id="b-1", order_qty="60.00", if_version=1)
        await stage.say("amend_order", cl_ord_id="b-1", order_qty="80.00")
        await stage.say("amend_order", cl_ord_id="b-1", limit_price="97.05", order_qty="80.00")
        await stage.say("amend_order", cl_ord_id="b-1", limit_price="97.10", if_version=1)
        await stage.say("amend_order", cl_ord_id="b-1")
        await stage.happens(sell(OTHER, 9_705, 30_00))
        stage.note("the new quantity counts what was filled: 30.00 were")
        await stage.say("amend_order", cl_ord_id="b-1", order_qty="20.00")
        await stage.say("amend_order", cl_ord_id="b-1", order_qty="30.00")
        await stage.say("amend_order", order_id="O-999999", order_qty="30.00")


async def cancel_order(stage: Stage) -> None:
    """One reply for each order named; one that has ended is told with its state."""
    async with stage.connected(login=True):
        placed = await stage.say("add_order", **limit("buy", "97.00", "10.00", cl_ord_id="c-1"))
        await stage.say("add_order", **limit("buy", "96.00", "10.00", cl_ord_id="c-2"))
        await stage.say("cancel_order", order_id=placed["result"]["order_id"])
        await stage.say("cancel_order", cl_ord_id=["c-2"])
        await stage.say("cancel_order", cl_ord_id="c-1")
        await stage.say("cancel_order", order_id="O-999999")
        await stage.say("cancel_order")


async def cancel_all(stage: Stage) -> None:
    """All orders and quotes, or some; with `block` nothing new is taken until `unblock`."""
    async with stage.connected(login=True):
        for side, price, tag in (("buy", "97.00", "curve"), ("buy", "96.00", "far"), ("sell", "99.00", "curve")):
            await stage.say("add_order", **limit(side, price, "10.00", tag=tag))
        await stage.say("cancel_all", symbol=L1, side="buy", tag="curve")
        await stage.say("mass_quote", quotes=[{"symbol": L2, "bid": "97.00", "bid_qty": "10.00"}])
        await stage.say("cancel_all", block=True)
        await stage.say("add_order", **limit("buy", "97.00", "10.00"))
        await stage.say("unblock")
        await stage.say("add_order", **limit("buy", "97.00", "10.00"))
        await stage.say("cancel_all", session="nobody")


async def cancel_all_orders_after(stage: Stage) -> None:
    """The dead man's switch: armed, renewed, disarmed, and what it does when nobody comes."""
    async with stage.connected(login=True) as socket:
        await stage.say("subscribe", channel="executions", snap_orders=False)
        await stage.say("add_order", **limit("buy", "97.00", "10.00", cl_ord_id="d-1"))
        await stage.say("cancel_all_orders_after", timeout=60)
        await stage.say("cancel_all_orders_after", timeout=0)
        await stage.say("cancel_all_orders_after", timeout=1)
        await socket.until(lambda m: m.get("channel") == "executions" and m["data"][0]["exec_type"] == "canceled")


async def batch_add(stage: Stage) -> None:
    """Up to 50 orders in one frame; each is judged by itself."""
    async with stage.connected(login=True):
        orders = [limit("buy", f"9{n}.00", "10.00", cl_ord_id=f"e-{n}") for n in (6, 7)]
        await stage.say("batch_add", orders=[*orders, limit("buy", "97.001", "10.00"), {"symbol": L1, "side": "buy"}])
        await stage.say("batch_add", orders=[])


async def batch_cancel(stage: Stage) -> None:
    """Up to 50 orders in one frame: a result or an error for each, in order."""
    async with stage.connected(login=True):
        placed = await stage.say("add_order", **limit("buy", "97.00", "10.00", cl_ord_id="f-1"))
        await stage.say("add_order", **limit("buy", "97.00", "10.00", cl_ord_id="f-2"))
        await stage.say("batch_cancel", orders=[placed["result"]["order_id"], {"cl_ord_id": "f-2"}, "O-999999"])
        await stage.say("batch_cancel", cl_ord_id=["f-1"])


async def get_order(stage: Stage) -> None:
    """One order as it is, open or ended."""
    async with stage.connected(login=True):
        await stage.say("add_order", **limit("buy", "97.00", "10.00", cl_ord_id="g-1", tag="curve"))
        await stage.say("get_order", cl_ord_id="g-1")
        await stage.say("cancel_order", cl_ord_id="g-1")
        await stage.say("get_order", cl_ord_id="g-1")
        await stage.say("get_order", cl_ord_id="g-2")


async def resolve_order(stage: Stage) -> None:
    """The final answer after a timeout: the order, or a fence behind which a late copy is refused."""
    async with stage.connected(login=True):
        await stage.say("add_order", **limit("buy", "97.00", "10.00", cl_ord_id="h-1"))
        await stage.say("resolve_order", cl_ord_id="h-1")
        await stage.say("resolve_order", cl_ord_id="h-2")
        stage.note("the late copy of h-2")
        await stage.say("add_order", **limit("buy", "97.00", "10.00", cl_ord_id="h-2"))
        await stage.say("resolve_order", cl_ord_id="h-2")


async def mass_quote_(stage: Stage) -> None:
    """Two-sided quotes of many loans in one frame: placed, moved, withdrawn, refused side by side."""
    async with stage.connected(login=True):
        both = {"bid": "97.50", "bid_qty": "100.00", "ask": "98.50", "ask_qty": "100.00"}
        await stage.say("mass_quote", quote_set="q1", quotes=[{"symbol": L1, **both}, {"symbol": L2, **both}])
        stage.note("moved in L1, the ask withdrawn in L2, unknown and too much elsewhere")
        moved = [
            {"symbol": L1, **both, "bid": "97.60"},
            {"symbol": L2, "bid": "97.50", "bid_qty": "100.00"},
            {"symbol": "L9/USD", "bid": "97.50", "bid_qty": "100.00"},
        ]
        await stage.say("mass_quote", quote_set="q1", quotes=moved)
        stage.note("a side that is refused stands nowhere: its former quote is gone")
        wrong = {"bid": "98.60", "bid_qty": "10.00", "ask": "98.50", "ask_qty": "9000.00"}
        await stage.say("mass_quote", quote_set="q1", quotes=[{"symbol": L1, **wrong}])
        await stage.say("mass_quote", quote_set="q2", quotes=[{"symbol": L1, "ask": "98.00", "ask_qty": "1.00"}])
        stage.note("refused as a whole")
        await stage.say("mass_quote", quotes=[{"symbol": L1, "bid": "97.50"}])


async def quote_cancel(stage: Stage) -> None:
    """Quotes are withdrawn by symbol, by set, or all."""
    async with stage.connected(login=True):
        side = {"bid": "97.50", "bid_qty": "100.00"}
        await stage.say("mass_quote", quote_set="q1", quotes=[{"symbol": L1, **side}, {"symbol": L2, **side}])
        await stage.say("mass_quote", quote_set="q2", quotes=[{"symbol": L1, **side}])
        await stage.say("quote_cancel", symbol=[L1], quote_set="q1")
        await stage.say("quote_cancel", symbol="L9/USD")
        await stage.say("quote_cancel")


async def protection(stage: Stage) -> None:
    """Market-maker protection (`set_mmp`, `reset_mmp`): the fill that reaches the limit pulls the group's quotes."""
    async with stage.connected(login=True):
        await stage.say("subscribe", channel="quotes")
        await stage.say("set_mmp", group="retail", max_fills=1, max_face="5000.00", window_ms=1000)
        side = {"ask": "98.50", "ask_qty": "100.00"}
        frame = {"quote_set": "q1", "mmp_group": "retail", "quotes": [{"symbol": L1, **side}, {"symbol": L2, **side}]}
        await stage.say("mass_quote", **frame)
        await stage.happens(buy(OTHER, 9_850, 10_00))
        await stage.say("mass_quote", **frame)
        await stage.say("reset_mmp", group="retail")
        await stage.say("mass_quote", **frame)
        await stage.say("set_mmp", group="retail", window_ms=1000)


# Public channels


async def status(stage: Stage) -> None:
    """How the market is: the greeting, then each change of mode and of the business date."""
    async with stage.connected():
        await stage.say("subscribe", channel="status")
        for mode in (Mode.CANCEL_ONLY, Mode.POST_ONLY, Mode.HALTED, Mode.OPEN):
            await stage.happens(SetMode(mode=mode))
        await stage.happens(RollDay(to=date(2024, 1, 16)))
        await stage.say("unsubscribe", channel="status")


async def heartbeat(stage: Stage) -> None:
    """A sign of life every second, once subscribed to anything."""
    async with stage.connected() as socket:
        await stage.say("subscribe", channel="heartbeat")
        await socket.next_heartbeat()
        await stage.say("unsubscribe", channel="heartbeat")


async def book(stage: Stage) -> None:
    """A snapshot, steps, `resync`, and what follows a lost connection: `resumed` true or false."""
    asks = [sell("ORIG", 9_900 + n, 10_00) for n in range(11)]
    await stage.stack.do(*asks, buy(OTHER, 9_700, 20_00))
    seq = epoch = 0
    async with stage.connected() as socket:
        await stage.say("subscribe", channel="book", symbol=[L1, "L9/USD"], depth=10)
        stage.note("a better ask enters; 99.09 leaves the ten best, which is not told: cut to your depth")
        await stage.happens(sell("ORIG", 9_890, 5_00))
        stage.note("it is taken: removed (0.00), and 99.09 comes back into view")
        await stage.happens(buy(OTHER, 9_890, 5_00))
        stage.note("a level changes, another goes")
        await stage.happens(sell("ORIG", 9_901, 2_50), CancelAll(account_id=AccountId(OTHER)))
        await stage.say("resync", channel="book", symbol=L1, depth=10)
        last = [m["data"][0] for m in socket.seen if m.get("channel") == "book"][-1]
        seq, epoch = last["seq"], last["epoch"]
    await stage.stack.do(buy(OTHER, 9_600, 1_00))
    async with stage.connected(number=2):
        resume = {"channel": "book", "symbol": L1, "depth": 10, "from_seq": seq, "epoch": epoch}
        await stage.say("subscribe", **resume)
        await stage.happens(buy(OTHER, 9_601, 1_00))
        await stage.say("unsubscribe", channel="book", symbol=L1, depth=10)
        stage.note("numbers of another epoch mean nothing: a snapshot follows")
        await stage.say("subscribe", **resume | {"epoch": epoch + 1})
        stage.note("refused")
        await stage.say("subscribe", channel="book", symbol=L1, depth=11)
        await stage.say("subscribe", channel="book", symbol=[L1, L2], from_seq=1)


async def bbo(stage: Stage) -> None:
    """Best bid and offer, when one of them changes; null where there is none."""
    async with watching(stage, "bbo", symbol=L1):
        await stage.happens(buy(OTHER, 9_700, 20_00))
        await stage.happens(sell(OTHER, 9_850, 20_00))
        await stage.say("resync", channel="bbo", symbol=L1)
        await stage.happens(CancelAll(account_id=AccountId(OTHER)))


async def ticker(stage: Stage) -> None:
    """Best prices with their yields, the last trade, 24 hours of trading, accrued interest and factor."""
    await stage.stack.do(buy(OTHER, 9_700, 20_00), sell(OTHER, 9_850, 20_00))
    async with watching(stage, "ticker", symbol=[L1, L2]):
        await stage.happens(buy("MM-1", 9_850, 5_00))
        await stage.happens(RollDay(to=date(2024, 1, 16)))


async def trade(stage: Stage) -> None:
    """Every trade; `snapshot: true` begins with the latest 50."""
    async with stage.connected():
        await stage.say("subscribe", channel="trade", symbol=L1, snapshot=True)
        await stage.happens(sell(OTHER, 9_850, 5_00), sell(OTHER, 9_860, 5_00))
        stage.note("one order takes two: two trades of one message")
        await stage.happens(buy(ME, 9_860, 8_00))
        await stage.say("unsubscribe", channel="trade", symbol=L1)
        await stage.say("subscribe", channel="trade", symbol=L2)


async def ohlc(stage: Stage) -> None:
    """Candles: the latest as a snapshot, then each that trades changed; it replaces the one of its `interval_begin`."""
    async with watching(stage, "ohlc", symbol=L1, interval=5):
        await stage.happens(sell(OTHER, 9_850, 5_00), buy(ME, 9_850, 2_00))
        await stage.happens(buy(ME, 9_850, 3_00))
        stage.note("five minutes later")
        stage.wait(300)
        await stage.happens(sell(OTHER, 9_900, 5_00), buy(ME, 9_900, 5_00))
        await stage.say("subscribe", channel="ohlc", symbol=L1, interval=7)


async def instrument(stage: Stage) -> None:
    """Terms and state of loans: on a halt, a payment, and when a loan is registered."""
    async with stage.connected():
        await stage.say("subscribe", channel="instrument", symbol=L1)
        await stage.happens(HaltLoan(loan_id=LoanId("L1"), halted=True, reason="news"))
        await stage.happens(HaltLoan(loan_id=LoanId("L1"), halted=False))
        await stage.happens(RollDay(to=date(2024, 2, 15)))
        await stage.happens(service(servicing("payment", date(2024, 2, 15), 888_49)))
        await stage.say("unsubscribe", channel="instrument", symbol=L1)
        stage.note("without a symbol: all loans, also those to come")
        await stage.say("subscribe", channel="instrument", snapshot=False)
        await stage.happens(register("L3"))


async def board(stage: Stage) -> None:
    """The best of all loans by filter and order: rows that enter, change and leave."""
    await stage.stack.do(sell("ORIG", 9_800, 50_00, loan_id=LoanId("L1")))
    async with stage.connected() as socket:
        words = {"channel": "board", "max_price": "99", "sort": "-ytm", "limit": 5}
        answer = await stage.say("subscribe", **words)
        stage.fix(answer["result"]["board"], "board-1")  # made of all filters that there are: others with each new one
        for step in (
            sell("ORIG", 9_790, 50_00, loan_id=LoanId("L2")),
            sell("ORIG", 9_780, 50_00, loan_id=LoanId("L1")),
            CancelAll(account_id=AccountId("ORIG"), loan_id=LoanId("L2")),
        ):
            await stage.stack.do(step)
            await socket.push("board", "update")
        await stage.say("resync", **words)
        await stage.say("unsubscribe", **words)
        await stage.say("subscribe", channel="board", min_yield="0.1")


# Private channels


async def executions(stage: Stage) -> None:
    """Every kind of execution row: new, trade, amended, restated, canceled, expired, suspended."""
    await stage.stack.do(buy(ME, 9_500, 10_00))
    async with stage.connected(login=True):
        await stage.say("subscribe", channel="executions", snap_trades=True)
        stage.note("new")
        await stage.say("add_order", **limit("sell", "98.50", "100.00", cl_ord_id="x-1"))
        stage.note("trade, as maker, in part")
        await stage.happens(buy(OTHER, 9_850, 40_00))
        stage.note("amended")
        await stage.say("amend_order", cl_ord_id="x-1", order_qty="80.00")
        stage.note("suspended by a halt, and back: restated")
        await stage.happens(HaltLoan(loan_id=LoanId("L1"), halted=True, reason="news"))
        await stage.happens(HaltLoan(loan_id=LoanId("L1"), halted=False))
        stage.note("the last fill: one trade row with order_status filled, no second row")
        await stage.happens(buy(OTHER, 9_850, 40_00))
        stage.note("filled on arrival, as taker: a new row, then its trades in the next message")
        await stage.happens(buy(OTHER, 9_700, 5_00), buy(OTHER, 9_690, 5_00))
        await stage.say("add_order", **limit("sell", "96.90", "20.00", time_in_force="ioc", cl_ord_id="x-2"))
        stage.note("canceled by its owner, by self-trade prevention")
        await stage.say("cancel_all", symbol=L1)
        await stage.say("add_order", **limit("buy", "97.00", "5.00", cl_ord_id="x-3"))
        await stage.say("add_order", **limit("sell", "97.00", "5.00", cl_ord_id="x-4"))
        stage.note("restated: a pegged order's price moves with the business date")
        by_yield = {"symbol": L2, "side": "buy", "order_type": "yield", "limit_yield": "0.14", "order_qty": "10.00"}
        await stage.say("add_order", **by_yield, peg="yield", cl_ord_id="x-5")
        await stage.say("add_order", **limit("buy", "96.00", "5.00", time_in_force="day", cl_ord_id="x-6"))
        stage.note("expired: a day order at the end of its business day")
        await stage.happens(RollDay(to=date(2024, 2, 14)))


async def balances(stage: Stage) -> None:
    """Cash and claims: total, available, held."""
    async with stage.connected(login=True):
        await stage.say("subscribe", channel="balances")
        await stage.say("add_order", **limit("buy", "97.00", "10.00"))
        await stage.happens(sell(OTHER, 9_700, 10_00))
        await stage.say("resync", channel="balances")
        await stage.say("unsubscribe", channel="balances")


async def quotes(stage: Stage) -> None:
    """One's own quotes, side by side: placed, filled in part, suspended, gone for a reason."""
    async with stage.connected(login=True):
        await stage.say("subscribe", channel="quotes")
        both = {"bid": "97.50", "bid_qty": "100.00", "ask": "98.50", "ask_qty": "100.00"}
        await stage.say("mass_quote", quote_set="q1", quotes=[{"symbol": L1, **both}, {"symbol": L2, **both}])
        await stage.happens(buy(OTHER, 9_850, 40_00))
        await stage.happens(buy(OTHER, 9_850, 60_00))
        await stage.happens(HaltLoan(loan_id=LoanId("L2"), halted=True, reason="news"))
        await stage.say("resync", channel="quotes")
        await stage.say("quote_cancel", symbol=L2)
        await stage.say("cancel_all")


# What a client has to live through


async def order_of_things(stage: Stage) -> None:
    """On one socket: an order's acknowledgement, its executions, the public trade, then books and balances."""
    async with stage.connected(login=True):
        await stage.say("subscribe", channel="executions", snap_orders=False)
        await stage.say("subscribe", channel="trade", symbol=L1)
        await stage.say("subscribe", channel="book", symbol=L1)
        await stage.say("subscribe", channel="balances")
        await stage.happens(sell(OTHER, 9_850, 30_00))
        await stage.say("add_order", **limit("buy", "98.50", "50.00", cl_ord_id="o-1"))


async def reconnect(stage: Stage) -> None:
    """A connection is lost, its orders end (cod), and the next one resumes executions by number."""
    async with stage.connected():
        await stage.login(session="mm-1", cancel_on_disconnect={"enabled": True})
        await stage.say("subscribe", channel="executions")
        await stage.say("add_order", **limit("buy", "97.00", "10.00", cl_ord_id="r-1"))
        await stage.say("add_order", **limit("buy", "98.00", "10.00", cl_ord_id="r-2"))
    stage.note("the connection is lost; meanwhile r-1 and r-2 are cancelled")
    await until(lambda: not stage.stack.views.account(AccountId(ME)).open_orders)
    async with stage.connected(number=2):
        await stage.login(session="mm-1")
        last = max(m["sequence"] for m in _heard(stage) if m.get("channel") == "executions")
        await stage.say("subscribe", channel="executions", from_seq=last)
        stage.note("live again, without a hole")
        await stage.say("add_order", **limit("buy", "97.00", "10.00", cl_ord_id="r-3"))
        await stage.say("subscribe", channel="executions", from_seq=1_000)


async def restart(stage: Stage) -> None:
    """The engine rebuilds its memory: a new epoch, a fresh snapshot of each state, quotes gone; executions go on."""
    async with stage.connected(login=True) as socket:
        await stage.say("subscribe", channel="executions")
        await stage.say("subscribe", channel="book", symbol=L1)
        await stage.say("subscribe", channel="quotes")
        await stage.say("add_order", **limit("buy", "97.00", "10.00", cl_ord_id="s-1"))
        await stage.say("mass_quote", quotes=[{"symbol": L1, "ask": "99.00", "ask_qty": "10.00"}])
        stage.note("the engine loses its database and rebuilds its memory")
        await stage.stack.cut_engine_off()
        await socket.until(lambda m: m.get("channel") == "quotes" and any(row["reason"] for row in m["data"]))
        stage.note("for a second only cancels are taken")
        await stage.say("add_order", **limit("buy", "96.00", "10.00", cl_ord_id="s-2"))
        stage.wait(1)
        await stage.say("add_order", **limit("buy", "96.00", "10.00", cl_ord_id="s-2"))


async def errors(stage: Stage) -> None:
    """What the socket refuses, by code; those of single methods stand in their own files, too."""
    order = limit("buy", "97.00", "10.00")
    async with stage.connected(login=True):
        await stage.say("add_order", **order | {"side": "hold"})
        await stage.say("add_order", **order | {"colour": "red"})
        await stage.say("transfer")
        await stage.say("add_order", **order | {"limit_price": "97.001"})
        await stage.say("add_order", **order | {"limit_price": "180.00"})
        await stage.say("add_order", **order | {"limit_price": "120.00"})
        await stage.say("add_order", **order | {"order_qty": "0.00"})
        await stage.say("add_order", **order | {"order_qty": "0.50"})
        await stage.say("add_order", **order | {"order_qty": "200000.00"})
        await stage.say("add_order", **limit("sell", "99.00", "9000.00"))
        await stage.say("add_order", **order | {"deadline": "2024-01-01T00:00:00Z"})
        await stage.say("add_order", **order | {"symbol": "L9/USD"})
        await stage.say("add_order", **order | {"symbol": L2, "if_book_seq": 999})
        stage.note("a loan under a rulebook that admits no premium; one for daring investors of its grade")
        await stage.happens(AssignRulebook(loan_id=LoanId("L2"), rulebook="cn-strict"))
        await stage.say("add_order", **order | {"symbol": L2, "limit_price": "101.00", "order_qty": "100.00"})
        daring = replace(OPEN, name="daring", suitability=(("B", "c5"),))
        await stage.happens(DefineRulebook(rulebook=daring), register("L3", grade="B", transferable=False))
        await stage.say("add_order", **order | {"symbol": "L3/USD"})
        await stage.happens(register("L4", grade="B"), AssignRulebook(loan_id=LoanId("L4"), rulebook="daring"))
        await stage.say("add_order", **order | {"symbol": "L4/USD"})
        stage.note("a loan that is halted, one that is repaid; the market's mode; an account that is frozen")
        await stage.happens(HaltLoan(loan_id=LoanId("L1"), halted=True, reason="news"))
        await stage.say("add_order", **order)
        await stage.happens(HaltLoan(loan_id=LoanId("L1"), halted=False))
        await stage.happens(service(servicing("prepayment", DAY, 10_000_00, loan_id="L2")))
        await stage.say("add_order", **order | {"symbol": L2})
        await stage.happens(SetMode(mode=Mode.CANCEL_ONLY))
        await stage.say("add_order", **order)
        await stage.happens(SetMode(mode=Mode.OPEN), FreezeAccount(account_id=AccountId(ME), frozen=True))
        await stage.say("add_order", **order)
        await stage.happens(FreezeAccount(account_id=AccountId(ME), frozen=False))
        stage.note("the account has used up its orders of the last seconds")
        stage.stack.rates.take(AccountId(ME), Bucket.ORDERS, 20_000)
        await stage.say("add_order", **order)
    stage.note("a key that may only read")
    stage.key = await stage.stack.key(ME, "read")
    stage.fix(stage.key.key, KEY)
    async with stage.connected(number=2, login=True):
        await stage.say("add_order", **order)


async def unreadable(stage: Stage) -> None:
    """A frame that is no JSON object is answered with `method: null`; the third within 10 seconds closes (1008)."""
    async with stage.connected() as socket:
        await stage.say_raw('{"method":"ping","req_id":7,"req_id":7}')
        await stage.say_raw('{"method":"ping","req_id":8')
        await stage.say_raw('["ping"]')
        await socket.closed()


def _heard(stage: Stage) -> list[Json]:
    return [line["message"] for line in stage.lines() if line.get("from") == "market" and "message" in line]


SCENES: dict[str, Scene] = {
    name.rstrip("_"): scene
    for name, scene in list(globals().items())
    if inspect.iscoroutinefunction(scene) and scene.__module__ == __name__ and name != "watching"
}
