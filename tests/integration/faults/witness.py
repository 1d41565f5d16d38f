"""Watches an engine from outside and the database from below: what was told must be there, and nothing by halves.

A twin venue follows the command log, so that after each fault the rebuilt state can be compared with the log's.
"""

from dataclasses import dataclass, field

import asyncpg

from market.commands import ServiceLoan
from market.ids import Nanos, Seq
from market.settlement.check import check
from market.settlement.log import decode
from market.settlement.recovery import recover
from market.venue.venue import Venue
from tests.integration.faults import load


@dataclass(slots=True)
class Told:
    """All that anybody was told so far. answers: name -> (order id, status)."""

    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    trades: set[int] = field(default_factory=set)
    messages: set[tuple[str, int]] = field(default_factory=set)

    def hear(self, line: str) -> None:
        """Take one line of a worker. A repeated answer must be the first one, and must say that it is a repeat."""
        kind, *words = line.split()
        if kind == "A":
            name, order_id, status, duplicate = words
            first = self.answers.get(name)
            assert first in (None, (int(order_id), status)), f"{name} was told {first}, then {words}"
            assert first is None or duplicate == "1", f"{name} was carried out twice"
            self.answers[name] = int(order_id), status
        elif kind == "R":
            self.refused.add(words[0])
        elif kind == "T":
            self.trades.add(int(words[0]))
        elif kind == "X":
            self.messages.add((words[0], int(words[1])))


class Witness:
    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.twin = Venue()
        self.lists = self.events = 0  # of servicing, that are in the database
        self.epoch = 0  # of the last line that it followed

    async def verify(self, told: Told) -> Seq:
        """Raise AssertionError unless the database holds all that was told, conserves all sums, and equals its log."""
        connection = await asyncpg.connect(self.dsn, server_settings={"search_path": "market"})
        try:
            await self._everything_told_is_there(connection, told)
            await self._follow_the_log(connection)
            rebuilt = await recover(connection)
        finally:
            await connection.close()
        assert rebuilt.seq == self.twin.seq
        durable = Venue.restore(self.twin.seq, self.twin.snapshot(), last_trade_id=self.twin.state.last_trade_id)
        durable.drop_quotes()
        assert rebuilt.state_hash() == durable.state_hash(), "the tables and the log tell different states"
        rebuilt.state.check_invariants()
        report = await check(self.dsn)
        assert report.ok, report
        return rebuilt.seq

    async def _everything_told_is_there(self, connection: asyncpg.Connection, told: Told) -> None:
        rows = await connection.fetch(
            "SELECT client_order_id, order_id FROM market.orders WHERE client_order_id IS NOT NULL"
        )
        orders = {row["client_order_id"]: row["order_id"] for row in rows}
        rows = await connection.fetch("SELECT custody_ref FROM market.custody_movement")
        deposits = {row["custody_ref"] for row in rows}
        serviced = await self._lists_are_whole(connection)
        for name, (order_id, _) in told.answers.items():
            assert orders.get(name) == order_id or (order_id == 0 and name in deposits | serviced), (
                f"{name} was acknowledged and is lost"
            )
        rows = await connection.fetch("SELECT trade_id FROM market.trade")
        assert told.trades <= {row["trade_id"] for row in rows}, "a trade was published and is lost"
        rows = await connection.fetch("SELECT account_id, sequence FROM market.execution")
        assert told.messages <= {(row["account_id"], row["sequence"]) for row in rows}, "an execution is lost"

    async def _lists_are_whole(self, connection: asyncpg.Connection) -> set[str]:
        """Return the names of the servicing lists that are there, each with all of its events and no other."""
        rows = await connection.fetch("SELECT event_id FROM market.servicing_event")
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(row["event_id"].partition(".")[0], set()).add(row["event_id"])
        for name, event_ids in found.items():
            seed, i = map(int, name.split("-"))
            sent = load.order(seed, i)
            assert isinstance(sent, ServiceLoan)
            assert event_ids == {event.event_id for event in sent.events}, f"{name} is there by halves"
        self.lists, self.events = len(found), len(rows)
        return set(found)

    async def _follow_the_log(self, connection: asyncpg.Connection) -> None:
        rows = await connection.fetch(
            "SELECT seq, epoch, at, kind, body FROM market.command_log WHERE seq > $1 ORDER BY seq", self.twin.seq
        )
        for row in rows:
            if row["epoch"] != self.epoch:
                self.epoch = row["epoch"]
                self.twin.drop_quotes()
            self.twin.apply(Seq(row["seq"]), Nanos(row["at"]), decode(row["kind"], row["body"]))
