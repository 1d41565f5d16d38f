"""Keeps a desk: listens to the market for as long as the terminal runs, through any number of connections."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import aiohttp

from gateway.client import (
    ApiError,
    Connected,
    EpochChanged,
    ExecutionReport,
    Json,
    Lost,
    MarketClient,
    NotSent,
    decimal,
)
from gateway.client.errors import Closed
from gateway.terminal.desk import Desk, Part

LOANS_MAX: Final = 5_000  # listed and followed
PAGE: Final = 500
SYMBOLS_PER_SUBSCRIPTION: Final = 1_000  # a frame of the client has room for so many names
POSITIONS_S: Final = 5.0  # between two looks at positions, if nothing was traded meanwhile
RETRY_S: Final = 1.0
QUIET_S: Final = 3.5  # a connection that has not said so much as a heartbeat for so long is not to be trusted
TROUBLE: Final = (ApiError, aiohttp.ClientError, OSError)  # of one REST call; TimeoutError is an OSError


class Feed:
    """on_fill: is called once for each fill that happens while the terminal runs."""

    def __init__(self, market: MarketClient, desk: Desk, *, on_fill: Callable[[], None] = lambda: None) -> None:
        self._market = market
        self._desk = desk
        self._on_fill = on_fill
        self._traded = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled. Raises ApiError when the key is no longer good (in an ExceptionGroup)."""
        market = self._market
        self._connected()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._events(market.events()))
            group.create_task(self._status())
            group.create_task(self._heartbeats())
            group.create_task(self._executions())
            group.create_task(self._quotes())
            group.create_task(self._positions())
            group.create_task(self._loans(group))

    def _connected(self) -> None:
        desk, market = self._desk, self._market
        desk.connected, desk.account, desk.epoch = True, market.account or "", market.epoch
        desk.quiet_since = asyncio.get_running_loop().time()
        self._take_status(market.status)
        if desk.knows_orders:
            desk.freshen(Part.ORDERS)  # executions went on behind the last number: nothing is missing
            desk.freshen(Part.FILLS)

    async def _events(self, events: AsyncIterator[object]) -> None:
        desk = self._desk
        async for event in events:
            match event:
                case Lost(code):
                    desk.lose()
                    desk.say(f"connection lost ({code}), connecting again; quotes made here have ended", is_bad=True)
                case Connected():
                    self._connected()
                    desk.say("connected again")
                    self._traded.set()
                case EpochChanged(_, now):
                    desk.epoch = now
                    desk.say(f"the market began anew: epoch {now}; all quotes are gone", is_bad=True)

    async def _status(self) -> None:
        async for message in self._stream("status"):
            self._take_status(message["data"][-1])

    def _take_status(self, row: Json) -> None:
        desk = self._desk
        desk.mode, desk.business_date = row["mode"], row["business_date"]
        desk.tellings += 1

    async def _heartbeats(self) -> None:
        loop = asyncio.get_running_loop()
        async for _ in self._stream("heartbeat"):
            self._desk.quiet_since = loop.time()

    async def _executions(self) -> None:
        past = await self._rest("/v1/trades", limit=100)
        self._desk.take_past_trades(past["items"])
        while True:
            try:
                async for report in self._market.executions():
                    self._take_report(report)
            except Closed:
                raise
            except NotSent:  # no connection for long: begin with a snapshot again
                self._desk.knows_orders = False
                await asyncio.sleep(RETRY_S)

    def _take_report(self, report: ExecutionReport) -> None:
        for fill in self._desk.take_report(report.rows, is_snapshot=report.is_snapshot):
            self._traded.set()
            self._on_fill()
            word = "bought" if fill.side == "buy" else "sold"
            self._desk.say(f"{word} {decimal(fill.qty, thousands=',')} of {fill.symbol} at {decimal(fill.price)}")

    async def _quotes(self) -> None:
        async for message in self._stream("quotes"):
            self._desk.take_quotes(message)

    async def _positions(self) -> None:
        """Look at positions and results: at once after a fill, and every few seconds, for prices move."""
        while True:
            self._traded.clear()
            try:
                who = await self._market.rest.get("/v1/session")
                positions = await self._pages("/v1/positions")
                results = await self._market.rest.get("/v1/performance")
            except TROUBLE:
                self._desk.fresh.discard(Part.POSITIONS)
                self._desk.tellings += 1
            else:
                self._desk.blocked = who["blocked"]
                self._desk.take_positions(positions, results["items"])
            try:
                async with asyncio.timeout(POSITIONS_S):
                    await self._traded.wait()
            except TimeoutError:
                continue

    async def _loans(self, group: asyncio.TaskGroup) -> None:
        """List the loans that trade and follow their best prices; loans that are registered later join them."""
        group.create_task(self._instruments(group))
        rows = await self._listed()
        symbols = [row["symbol"] for row in rows if self._desk.list_loan(row)]
        for start in range(0, len(symbols), SYMBOLS_PER_SUBSCRIPTION):
            group.create_task(self._tickers(symbols[start : start + SYMBOLS_PER_SUBSCRIPTION]))

    async def _instruments(self, group: asyncio.TaskGroup) -> None:
        desk = self._desk
        async for message in self._stream("instrument", snapshot=False):
            for row in message["data"]:
                is_listed = row["symbol"] in desk.tops or len(desk.tops) < LOANS_MAX
                if is_listed and desk.list_loan(row):
                    group.create_task(self._tickers([row["symbol"]]))

    async def _listed(self) -> list[Json]:
        rows: list[Json] = []
        query: dict[str, str | int] = {"limit": PAGE}
        while len(rows) < LOANS_MAX:
            answer = await self._rest("/v1/loans", **query)
            rows += answer["items"]
            self._desk.loans_in_all = answer.get("total", len(rows))
            if answer["next_cursor"] is None:
                break
            query["cursor"] = answer["next_cursor"]
        return rows[:LOANS_MAX]

    async def _tickers(self, symbols: list[str]) -> None:
        async for message in self._stream("ticker", symbols):
            self._desk.take_ticker(message)

    async def _stream(self, channel: str, symbols: list[str] | None = None, **params: bool) -> AsyncIterator[Json]:
        """Yield a channel's messages, as soon as there is a connection to ask for them on."""
        while True:
            try:
                stream = await self._market.subscribe(channel, symbols, **params)
                break
            except Closed:
                raise
            except NotSent:
                await asyncio.sleep(RETRY_S)
        async for message in stream:
            yield message

    async def _rest(self, path: str, **query: str | int) -> Json:
        """Return an answer, however long it takes."""
        while True:
            try:
                return await self._market.rest.get(path, **query)
            except ApiError as e:
                if not e.retryable:
                    raise
            except (aiohttp.ClientError, OSError):
                pass
            await asyncio.sleep(RETRY_S)

    async def _pages(self, path: str) -> list[Json]:
        rows: list[Json] = []
        query: dict[str, str | int] = {"limit": PAGE}
        while True:
            answer = await self._market.rest.get(path, **query)
            rows += answer["items"]
            if answer["next_cursor"] is None:
                return rows
            query["cursor"] = answer["next_cursor"]
