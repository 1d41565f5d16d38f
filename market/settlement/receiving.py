"""Receives what the other ledgers of the market sent to this one.

A move that is durable where it was sent stands there for good, so whichever engine writes here finds it: at its start,
when the sender's commit says so (NOTIFY), and by asking now and then, for a word may be lost. That it is received once
is the venue's rule and the table's. Each receipt says up to where in the sender's log all has come: that is where the
next look begins, here and in the engine after this one, and what the venue need not remember. The schema proves it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import asyncpg

from market.commands import ReceiveCash
from market.errors import Busy, MarketError, OutcomeUnknown, Unavailable, UnknownAccount
from market.ids import AccountId, Currency, Minor, Seq
from market.partitions import schema_of
from market.port import EnginePort
from market.settlement.merged import ledgers_of

log = logging.getLogger(__name__)

ACTOR: Final = "cash lines"
CHANNEL: Final = "debt_market_cash"  # its payload is the receiver's partition
POLL_S: Final = 1.0
RETRY_S: Final = 1.0
AT_ONCE: Final = 500  # moves per question
CONNECT_TIMEOUT_S: Final = 5.0
TROUBLE: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)

SENT = """
    SELECT seq, move_id, account_id, currency, amount FROM {sender}.cash_move
    WHERE to_partition = $1 AND seq >= $2 ORDER BY seq LIMIT $3
"""
ALL_BEFORE = "SELECT coalesce(max(all_before), 0) FROM {own}.cash_receipt WHERE sender = $1"
RECEIVED = "SELECT move_id FROM {own}.cash_receipt WHERE sender = $1 AND move_id = ANY($2)"


class Receiver:
    """`run` beside the engine of one partition. on_unknown_account: opens here what was opened at the first ledger."""

    def __init__(
        self,
        dsn: str,
        engine: EnginePort,
        partition: int,
        *,
        on_unknown_account: Callable[[], Awaitable[object]] | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        self._dsn = dsn
        self._engine = engine
        self._partition = partition
        self._on_unknown_account = on_unknown_account
        self._poll_s = poll_s
        self._due: dict[int, int] = {}
        self._all_before: dict[int, Seq] = {}  # by sender: what it sent before is received

    @property
    def due(self) -> int:
        """How many moves could not be received when last looked at."""
        return sum(self._due.values())

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._follow()
            except TROUBLE as e:
                log.warning("moves_unread error=%s", e or type(e).__name__)
            await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        """Until the connection ends."""
        told = asyncio.Event()

        def hear(_connection: object, _pid: int, _channel: str, receiver: object) -> None:
            if receiver == str(self._partition):
                told.set()

        connection = await asyncpg.connect(
            self._dsn, timeout=CONNECT_TIMEOUT_S, server_settings={"application_name": "debt-market cash lines"}
        )
        try:
            await connection.add_listener(CHANNEL, hear)
            while not connection.is_closed():
                told.clear()
                if not await self.receive_due(connection):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(told.wait(), self._poll_s)
        finally:
            connection.terminate()

    async def receive_due(self, connection: asyncpg.Connection) -> int:
        """Receive what is due from every ledger now; return how many moves were."""
        senders = [partition for partition in await ledgers_of(connection) if partition != self._partition]
        return sum([await self._receive_from(connection, sender) for sender in senders])

    async def _receive_from(self, connection: asyncpg.Connection, sender: int) -> int:
        own = schema_of(self._partition)
        if sender not in self._all_before:
            self._all_before[sender] = Seq(await connection.fetchval(ALL_BEFORE.format(own=own), sender))
        position, count = self._all_before[sender], 0
        missed: list[Seq] = []
        while sent := await self._sent(connection, sender, position):
            position = Seq(sent[-1]["seq"] + 1)
            names = [row["move_id"] for row in sent]
            known = await connection.fetch(RECEIVED.format(own=own), sender, names)
            received = {row["move_id"] for row in known}
            due = [row for row in sent if row["move_id"] not in received]
            if due and not missed:
                self._all_before[sender] = Seq(due[0]["seq"])
            outcomes = await asyncio.gather(*(self._receive(sender, row) for row in due))
            count += sum(outcomes)
            missed += [row["seq"] for row, is_received in zip(due, outcomes, strict=True) if not is_received]
            self._all_before[sender] = min(missed, default=position)
        self._due[sender] = len(missed)
        return count

    async def _sent(self, connection: asyncpg.Connection, sender: int, position: int) -> list[asyncpg.Record]:
        """Return moves in the order in which they were sent, from the sender's command `position` on."""
        query = SENT.format(sender=schema_of(sender))
        sent: list[asyncpg.Record] = await connection.fetch(query, self._partition, position, AT_ONCE)
        return sent

    async def _receive(self, sender: int, row: Any) -> bool:
        """Return whether the move is received now. What failed is still due, and asked for again."""
        command = ReceiveCash(
            account_id=AccountId(row["account_id"]),
            currency=Currency(row["currency"]),
            amount=Minor(row["amount"]),
            sender=sender,
            move_id=row["move_id"],
            sent_seq=Seq(row["seq"]),
            all_before=self._all_before[sender],
        )
        try:
            await self._engine.submit(command, actor=ACTOR)
        except UnknownAccount:
            if self._on_unknown_account is not None:
                await self._on_unknown_account()
            return False
        except (Busy, Unavailable, OutcomeUnknown):
            return False
        except MarketError as e:
            log.critical("move_refused sender=%d move_id=%s error=%s", sender, row["move_id"], e)
            return False
        return True
