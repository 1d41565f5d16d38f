"""An example market-maker on the public client: a yield curve, quoted on both sides of many loans by mass_quote.

It holds no opinion on single loans: a grade and the months that remain make the yield it asks for. More inventory than
it wants raises that yield, so both its prices fall. Servicing events, a new business date and its own trades make it
quote again. After a lost connection, also by the venue's restart, it logs in, reads what it owns and quotes everything
anew: quotes never outlive their connection, so there is nothing to reconcile.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gateway.client import ApiError, Json, decimal, retried
from gateway.demo.traders import Listed, Trader, listed_loan
from market.orderbook.order import Side

QUOTES_PER_FRAME = 500
QUOTE_SET = "curve"
REQUOTE_S = 0.2  # what changed within this time leaves in one frame
SLOPE_PER_YEAR = 0.002  # what a year more must yield more
SKEW = 0.002  # yield per multiple of the wanted inventory
SKEWS_MAX = 3.0  # times SKEW
WANTED_SIZES = 4  # the inventory it likes to hold, in usual orders
HALF_SPREAD_BP = 15
FACE_MIN = 10_000  # below this it does not quote, in minor units
PROTECTION = {"max_fills": 250, "window_ms": 1_000}  # more than its first frame takes of offers that it finds cheap
PROTECTED_S = 5.0  # it stays out so long after its protection has fired


@dataclass(frozen=True, slots=True)
class Curve:
    """Target effective yields. levels: by grade, as a fraction, of a loan with nothing left to run."""

    levels: dict[str, float]

    @classmethod
    def of(cls, loans: Sequence[Listed]) -> "Curve":
        """Return the curve through the average anchor of each grade."""
        by_grade: defaultdict[str, list[float]] = defaultdict(list)
        for loan in loans:
            by_grade[loan.grade].append(loan.anchor - SLOPE_PER_YEAR * loan.remaining_months / 12)
        return cls({grade: sum(found) / len(found) for grade, found in by_grade.items()})

    def target(self, loan: Listed) -> float:
        """Return the yield of a loan. Raises KeyError for a grade that is not on the curve."""
        return self.levels[loan.grade] + SLOPE_PER_YEAR * loan.remaining_months / 12


class CurveMaker(Trader):
    """One market-maker.

    standing: rows of `quotes`, by symbol and side.  owned: held or not, cash by currency, face by loan id.
    """

    def __init__(self, *arguments: Any, curve: Curve, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.standing: dict[tuple[str, str], Json] = {}
        self._curve = curve
        self.owned: dict[str, int] = {}
        self._stale = {loan.loan_id for loan in self.loans}  # to be read again
        self._due = set(self._stale)  # to be quoted again
        self._closed: set[str] = set()
        self._business_date = ""

    async def begin(self) -> None:
        assert self._socket is not None
        assert self._group is not None
        self.standing.clear()
        self._business_date = self._socket.greeting["business_date"]
        self._stale |= self.by_id.keys()
        await self._socket.call("set_mmp", group=QUOTE_SET, **PROTECTION)
        await self._reset()
        for channel, take in (("quotes", self._quoted), ("status", self._status), ("instrument", self._changed)):
            symbols = [loan.symbol for loan in self.loans] if channel == "instrument" else None
            messages = await self._socket.subscribe(channel, symbols)
            self._group.create_task(self._follow(messages, take))
        self._group.create_task(self._requote())

    async def step(self) -> None:
        """Buy some of a loan that it has nothing of, for a market-maker without claims quotes one side only."""
        loan = self.by_id[self.rng.choice(self.loans).loan_id]
        fair = self._fair(loan)
        if fair is not None and loan.loan_id not in self._closed and self.owned.get(loan.loan_id, 0) < loan.size:
            await self.place(loan, Side.BUY, fair + 4 * HALF_SPREAD_BP, WANTED_SIZES * loan.size, time_in_force="ioc")

    async def _requote(self) -> None:
        """Bring the quotes to what the curve says now, whenever something changed."""
        assert self._socket is not None
        while True:
            for loan_id in sorted(self._stale):
                await self._read_again(loan_id)
            due = sorted(self._due)[:QUOTES_PER_FRAME]
            if due:
                self._due -= set(due)
                try:
                    quotes = [self.wanted(self.by_id[loan_id]) for loan_id in due]
                    reply = await self._socket.call(
                        "mass_quote", quote_set=QUOTE_SET, mmp_group=QUOTE_SET, quotes=quotes
                    )
                    self._count(reply)
                except ApiError as e:
                    self._tally.refused[e.code] += 1
                    self._due |= set(due)
                    await asyncio.sleep(max(e.retry_after_s, PROTECTED_S if e.code == "mmp_frozen" else REQUOTE_S))
                    if e.code == "mmp_frozen":
                        await self._reset()
            await asyncio.sleep(REQUOTE_S)

    async def _reset(self) -> None:
        """Quote again after the protection has fired."""
        assert self._socket is not None
        await self._socket.call("reset_mmp", group=QUOTE_SET)
        self._due |= self.by_id.keys()

    async def _read_again(self, loan_id: str) -> None:
        """Value a loan by its state and its accrued interest of today."""
        self._stale.discard(loan_id)  # before reading: what changes meanwhile is read once more
        row = await retried(lambda: self._client.get(f"/v1/loans/{loan_id}"))
        self._due.add(loan_id)
        if row["status"] == "current" and not row["halted"]:
            self._closed.discard(loan_id)
            self.by_id[loan_id] = listed_loan(row, self._business_date, anchor=self.by_id[loan_id].anchor)
        else:
            self._closed.add(loan_id)

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

    def _fair(self, loan: Listed) -> int | None:
        """Return the price of the curve's yield, moved by the inventory."""
        wanted = WANTED_SIZES * loan.size
        excess = (self.owned.get(loan.loan_id, 0) - wanted) / wanted
        return loan.price(self._curve.target(loan) + SKEW * min(excess, SKEWS_MAX), Side.BUY)

    def _count(self, reply: Json) -> None:
        for row in reply["quotes"]:
            for side in ("bid_detail", "ask_detail"):
                if side in row:
                    self._tally.refused[row[side]["code"]] += 1

    def _quoted(self, row: Json) -> None:
        place = (row["symbol"], row["side"])
        if row["reason"] is None and row["status"] != "filled":
            self.standing[place] = row
            return
        self.standing.pop(place, None)
        if row["reason"] not in ("user", None):
            self._due.add(row["symbol"].rpartition("/")[0])

    def _changed(self, row: Json) -> None:
        self._stale.add(row["loan_id"])

    def _status(self, row: Json) -> None:
        if row["business_date"] != self._business_date:
            self._business_date = row["business_date"]
            self._stale |= self.by_id.keys()

    def _balance(self, row: Json) -> None:
        super()._balance(row)
        total = int(Decimal(row["balance"]) * 100)
        if self.owned.get(row["asset"]) != total:
            self.owned[row["asset"]] = total
            self._due |= {row["asset"]} & self.by_id.keys()
