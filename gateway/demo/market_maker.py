"""An example market-maker on the public client: a yield curve, quoted on both sides of many loans by mass_quote.

It holds no opinion on single loans: a grade and the months that remain make the yield it asks for (curve.py). More
inventory than it wants raises that yield, so both its prices fall. Servicing events, a new business date, its own
trades and those of others make it quote again; only what differs from what stands is sent. After a lost connection,
also by a crash of the venue, it reads the loans and what it owns and quotes everything anew: quotes never outlive
their connection, so there is nothing to reconcile.
"""

import asyncio
from typing import Any

from gateway.client import NO_ANSWER, ApiError, Backoff, Json, decimal, units
from gateway.demo.curve import Curve
from gateway.demo.traders import Listed, Trader, listed_loan, loan_rows
from market.orderbook.order import Side

QUOTES_PER_FRAME = 500
QUOTE_SET = "curve"
REQUOTE_S = 0.2  # what changed within this time leaves in one frame
SKEW = 0.002  # yield per multiple of the wanted inventory
SKEWS_MAX = 3.0  # times SKEW
WANTED_SIZES = 4  # the inventory it likes to hold, in usual orders
HALF_SPREAD_BP = 15
FACE_MIN = 10_000  # below this it does not quote, in minor units
PROTECTION = {"max_fills": 250, "window_ms": 1_000}  # more than its first frame takes of offers that it finds cheap
PROTECTED_S = 5.0  # it stays out so long after its protection has fired
READ_ONE_BY_ONE = 20  # loans; more are read by pages of the board


class CurveMaker(Trader):
    """One market-maker.

    standing: rows of `quotes`, by symbol and side.  owned: held or not, cash by currency, face by loan id.
    frames: of quotes that were sent.
    """

    def __init__(self, *arguments: Any, curve: Curve, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.standing: dict[tuple[str, str], Json] = {}
        self.owned: dict[str, int] = {}
        self.frames = 0
        self._curve = curve
        self._stale: set[str] = set()  # loans to be read again
        self._due: set[str] = set()  # loans to be quoted again
        self._closed: set[str] = set()
        self._business_date = ""
        self._connection = 0  # that everything was quoted on
        self._backoff = Backoff()

    async def begin(self, group: asyncio.TaskGroup) -> None:
        symbols = [loan.symbol for loan in self.loans]
        for channel, names, take in (
            ("quotes", None, self._quoted),
            ("status", None, self._status_changed),
            ("instrument", symbols, self._loans_changed),
            ("trade", symbols, self._traded),
        ):
            stream = await self.market.subscribe(channel, names)
            group.create_task(self.hear(stream, take))
        group.create_task(self._keep_quoting())

    async def step(self) -> None:
        """Buy some of a loan that it has nothing of, for a market-maker without claims quotes one side only."""
        loan = self.by_id[self.rng.choice(self.loans).loan_id]
        fair = self._fair(loan)
        if fair is not None and loan.loan_id not in self._closed and self.owned.get(loan.loan_id, 0) < loan.size:
            await self.place(loan, Side.BUY, fair + 4 * HALF_SPREAD_BP, WANTED_SIZES * loan.size, time_in_force="ioc")

    async def _keep_quoting(self) -> None:
        """Bring the quotes to what the curve says now, whenever something changed; trouble delays it."""
        troubles = 0
        while True:
            pause_s = REQUOTE_S
            try:
                await self._catch_up()
                troubles = 0
            except ApiError as e:
                self.tally.refused[e.code] += 1
                pause_s = max(e.retry_after_s, REQUOTE_S) + self._backoff.delay_s(troubles)
                troubles += 1
                if e.code == "mmp_frozen":
                    pause_s = PROTECTED_S
                    self._connection = 0  # then as on a new connection
            except NO_ANSWER:
                self.tally.refused["unanswered"] += 1  # the client is about to make another connection
            await asyncio.sleep(pause_s)

    async def _catch_up(self) -> None:
        """Read what is stale, quote what is due. Raises ApiError or one of NO_ANSWER; the rest stays to be done."""
        if self._connection != self.market.connections:
            await self._begin_anew()
        await self._read_again()
        due, self._due = sorted(self._due), set()
        quotes = [self.wanted(self.by_id[loan_id]) for loan_id in due]
        changed = [quote for quote in quotes if not self.stands(quote)]
        for start in range(0, len(changed), QUOTES_PER_FRAME):
            try:
                await self._send(changed[start : start + QUOTES_PER_FRAME])
            except BaseException:
                self._due.update(map(loan_id_of, changed[start:]))
                raise

    async def _send(self, quotes: list[Json]) -> None:
        reply = await self.market.mass_quote(quotes, quote_set=QUOTE_SET, mmp_group=QUOTE_SET)
        self.frames += 1
        for row in reply["quotes"]:
            for side in ("bid_detail", "ask_detail"):
                if side in row:
                    self.tally.refused[row[side]["code"]] += 1

    async def _begin_anew(self) -> None:
        """On a new connection nothing is quoted, and all that is known of the loans may be of the past."""
        connection = self.market.connections
        self._business_date = self.market.status["business_date"]
        self._stale |= self.by_id.keys()
        await self.market.insist("set_mmp", group=QUOTE_SET, **PROTECTION)
        await self.market.insist("reset_mmp", group=QUOTE_SET)
        self._connection = connection

    async def _read_again(self) -> None:
        """Value loans by their state and their accrued interest of today."""
        stale, self._stale = self._stale, set()  # before reading: what changes meanwhile is read once more
        try:
            if len(stale) <= READ_ONE_BY_ONE:
                rows = [await self.market.rest.get(f"/v1/loans/{loan_id}") for loan_id in sorted(stale)]
            else:
                rows = await loan_rows(self.market.rest, status="all")
        except BaseException:
            self._stale |= stale
            raise
        for row in rows:
            if (loan := self.by_id.get(row["loan_id"])) is None:
                continue
            self._due.add(loan.loan_id)
            if row["status"] == "current" and not row["halted"]:
                self._closed.discard(loan.loan_id)
                self.by_id[loan.loan_id] = listed_loan(row, self._business_date, anchor=loan.anchor)
            else:
                self._closed.add(loan.loan_id)

    def wanted(self, loan: Listed) -> Json:
        """Return the wanted quote of a loan: no side at all withdraws it."""
        quote: Json = {"symbol": loan.symbol}
        fair = self._fair(loan)
        if fair is None or loan.loan_id in self._closed:
            return quote
        bid, ask = loan.allowed(fair - HALF_SPREAD_BP), loan.allowed(fair + HALF_SPREAD_BP)
        cash = self.owned.get(loan.currency, 0) // len(self.loans)  # each loan's bid is paid from its own share
        bid_face = min(loan.size, cash * 10_000 // (bid + 500)) // 100 * 100
        ask_face = min(loan.size, self.owned.get(loan.loan_id, 0)) // 100 * 100
        if bid_face >= FACE_MIN and bid < ask:
            quote |= {"bid": decimal(bid), "bid_qty": decimal(bid_face)}
        if ask_face >= FACE_MIN:
            quote |= {"ask": decimal(ask), "ask_qty": decimal(ask_face)}
        return quote

    @property
    def is_settled(self) -> bool:
        """Whether all is quoted as it is wanted, as far as it knows."""
        knows_all = not self._stale and self._connection == self.market.connections and self.market.is_connected
        return knows_all and all(self.stands(self.wanted(loan)) for loan in self.by_id.values())

    def stands(self, quote: Json) -> bool:
        """Whether this is what stands."""
        for side, name in (("buy", "bid"), ("sell", "ask")):
            row = self.standing.get((quote["symbol"], side), {})
            if (row.get("price"), row.get("qty")) != (quote.get(name), quote.get(f"{name}_qty")):
                return False
        return True

    def _fair(self, loan: Listed) -> int | None:
        """Return the price of the curve's yield, moved by the inventory."""
        wanted = WANTED_SIZES * loan.size
        excess = (self.owned.get(loan.loan_id, 0) - wanted) / wanted
        return loan.price(self._curve.target(loan) + SKEW * min(excess, SKEWS_MAX), Side.BUY)

    def _quoted(self, message: Json) -> None:
        if message["type"] == "snapshot":
            self.standing.clear()
            self._due |= self.by_id.keys()
        for row in message["data"]:
            place = (row["symbol"], row["side"])
            if row["reason"] is None and row["status"] != "filled":
                self.standing[place] = row
                continue
            self.standing.pop(place, None)
            if row["reason"] not in ("user", None):
                self._due.add(loan_id_of(row))

    def _loans_changed(self, message: Json) -> None:
        if message["type"] == "update":  # a snapshot comes with a new connection, on which all are read
            self._stale.update(row["loan_id"] for row in message["data"])

    def _traded(self, message: Json) -> None:
        """Follow the market: what others pay for a loan says something of all loans of its grade."""
        moved = set()
        for row in message["data"]:
            if row["ytm"] is not None:
                loan = self.by_id[loan_id_of(row)]
                self._curve.learn(loan, Side(row["side"]), float(row["ytm"]), units(row["qty"]))
                moved.add(loan.grade)
        self._due.update(loan.loan_id for loan in self.by_id.values() if loan.grade in moved)

    def _status_changed(self, message: Json) -> None:
        for row in message["data"]:
            if row["business_date"] != self._business_date:
                self._business_date = row["business_date"]
                self._stale |= self.by_id.keys()

    def _take_balances(self, message: Json) -> None:
        super()._take_balances(message)
        for row in message["data"]:
            total = units(row["balance"])
            if self.owned.get(row["asset"]) != total:
                self.owned[row["asset"]] = total
                self._due |= {row["asset"]} & self.by_id.keys()


def loan_id_of(row: Json) -> str:
    return str(row["symbol"]).rpartition("/")[0]
