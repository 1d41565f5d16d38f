"""What a market-maker does from the terminal. Each act says how it ended; none of them guesses."""

import asyncio
from typing import Any, Final

from gateway.client import NO_ANSWER, ApiError, Disconnected, Json, MarketClient, Unanswered, Unresolved
from gateway.terminal.desk import Desk, Working

QUOTE_SET: Final = "terminal"
ONE_TRY_S: Final = 2.0  # of getting out, over the socket and then over REST
BETWEEN_TRIES_S: Final = 0.25


class Acts:
    def __init__(self, market: MarketClient, desk: Desk) -> None:
        self._market = market
        self._desk = desk
        self._leaving: asyncio.Task[None] | None = None

    # Getting out

    async def cancel_everything(self, *, block: bool = False) -> None:
        """Cancel all orders and quotes of the account, and with `block` refuse new ones; try until it is done.

        The socket is asked first, then REST, again and again: a repeat does no harm. A second call while the first
        one is still trying waits for that one, unless it asks for more.
        """
        if block or self._leaving is None or self._leaving.done():
            self._leaving = asyncio.create_task(self._leave(block=block))
        await asyncio.shield(self._leaving)

    async def _leave(self, *, block: bool) -> None:
        desk, what = self._desk, "kill switch" if block else "cancel all"
        desk.tell(f"{what}: {'sent' if self._market.is_connected else 'no connection, trying by REST'}")
        tries = 0
        while True:
            tries += 1
            try:
                done = await self._try_to_leave(block=block)
                break
            except ApiError as e:
                if not e.retryable:
                    desk.tell(f"{what}: REFUSED, {e}", is_bad=True)
                    return
                desk.tell(f"{what}: NOT DONE after {tries} tries ({e.code}), trying on", is_bad=True)
            except NO_ANSWER as e:
                desk.tell(f"{what}: NOT CONFIRMED after {tries} tries ({type(e).__name__}), trying on", is_bad=True)
            await asyncio.sleep(BETWEEN_TRIES_S)
        if block:
            desk.blocked = True
        suffix = "; nothing new is taken until ctrl+u" if block else ""
        desk.tell(f"{what}: DONE, {done['count']} orders and {done['quotes']} quote sides cancelled{suffix}")

    async def _try_to_leave(self, *, block: bool) -> Json:
        asked = {"block": True} if block else {}
        try:
            if self._market.is_connected:
                return await self._market.call("cancel_all", timeout_s=ONE_TRY_S, **asked)
        except (Disconnected, Unanswered):
            pass
        async with asyncio.timeout(ONE_TRY_S):
            return await self._market.rest.post("/v1/orders/cancel-all", asked)

    async def unblock(self) -> None:
        if await self._told("unblock", self._market.insist("unblock")):
            self._desk.blocked = False

    async def cancel(self, working: Working) -> None:
        """Cancel one order, or withdraw both sides of one quote."""
        if working.is_quote:
            what = f"withdraw quote {working.symbol} {working.label}"
            asked = self._market.insist("quote_cancel", symbol=working.symbol, quote_set=working.label)
        else:
            what = f"cancel {working.label}"
            asked = self._market.cancel_order(order_id=working.key.removeprefix("order:"))
        await self._told(what, asked)

    # Getting in. These return why not, for the form to show, or None.

    async def place(self, **order: Any) -> str | None:
        try:
            done = await self._market.add_order(**order)
        except Unresolved as e:
            return f"UNKNOWN whether it was placed: ask for {e.cl_ord_id} (resolve_order)"
        except ApiError as e:
            return self._refused(e)
        except NO_ANSWER as e:
            return f"not sent: {e}"
        filled = f", {done['cum_qty']} filled" if done.get("cum_qty", "0.00") != "0.00" else ""
        self._desk.tell(f"{order['side']} {order['order_qty']} {order['symbol']}: {done['order_status']}{filled}")
        return None

    async def amend(self, working: Working, **terms: str) -> str | None:
        order_id = working.key.removeprefix("order:")
        try:
            done = await self._market.amend_order(order_id=order_id, if_version=working.version, **terms)
        except ApiError as e:
            return self._refused(e)
        except NO_ANSWER as e:
            return f"no answer ({type(e).__name__}): look at the order before you try again"
        kept = "kept" if done.get("priority_kept") else "lost"
        self._desk.tell(f"amended {working.label}: {done['order_status']}, place in the queue {kept}")
        return None

    async def quote(self, row: Json, *, quote_set: str) -> str | None:
        """Move one two-sided quote; a side that the row leaves out is withdrawn."""
        try:
            done = await self._market.mass_quote([row], quote_set=quote_set)
        except ApiError as e:
            return self._refused(e)
        except NO_ANSWER as e:
            return f"no answer ({type(e).__name__}): the panel shows what stands"
        [told] = done["quotes"]
        wrong = [f"{side}: {told[side]}{_why(told, side)}" for side in ("bid", "ask") if told[side] not in ("ok", None)]
        if wrong:
            return "; ".join(wrong)
        self._desk.tell(f"quoted {row['symbol']}: {done['accepted']} sides stand")
        return None

    async def _told(self, what: str, asked: Any) -> bool:
        try:
            await asked
        except ApiError as e:
            self._desk.tell(f"{what}: {self._refused(e)}", is_bad=True)
            return False
        except NO_ANSWER as e:
            self._desk.tell(f"{what}: NOT CONFIRMED ({type(e).__name__})", is_bad=True)
            return False
        self._desk.tell(f"{what}: done")
        return True

    def _refused(self, error: ApiError) -> str:
        if error.code == "kill_switch":
            self._desk.blocked = True
        return f"refused, {error.body.get('message') or error}"


def _why(told: Json, side: str) -> str:
    detail = told.get(f"{side}_detail") or {}
    return f" ({detail['message']})" if detail.get("message") else ""
