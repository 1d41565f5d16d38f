"""A copy of the venue that a standby keeps warm: read once from the tables, then moved on by what others commit.

What changed is found by keys that only grow (sequence and trade numbers, executions by the command that made them) and
read from the tables themselves, so the copy knows what a rebuild would know, and no more: no quotes. A command that
touches orders without an execution, such as servicing or a new day, makes the copy be read anew.
Whoever takes the copy over gets it only if its sums are those of the tables at that moment; else memory is rebuilt.
"""

import asyncio
import gc
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
from msgspec.structs import replace

from market.commands import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    CancelQuotes,
    Deposit,
    ExpireOrders,
    MassQuote,
    OpenAccount,
    PlaceOrder,
    ReceiveCash,
    ResetMmp,
    ResolveOrder,
    SendCash,
    SetMmp,
    Unblock,
    Withdraw,
)
from market.events import (
    AccountChanged,
    CashChanged,
    CashReceived,
    CashSent,
    CustodyMoved,
    Event,
    IdFenced,
    LoanChanged,
    MmpChanged,
    OpenOrder,
)
from market.ids import Minor, Seq, TradeId
from market.partitions import schema_of
from market.settlement import recovery
from market.settlement.journal import HOUSE, ISSUE
from market.settlement.recovery import ORDER_COLUMNS
from market.venue.changes import account_changed
from market.venue.venue import Venue

log = logging.getLogger(__name__)

POLL_S: Final = 0.2
RETRY_S: Final = 1.0
REST_PER_READ: Final = 4  # after all was read anew, wait so many times as long as it took
CONNECT_TIMEOUT_S: Final = 5.0
STOP_TIMEOUT_S: Final = 2.0
TROUBLE: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
SESSION: Final = {
    "application_name": "debt-market standby",
    "default_transaction_read_only": "on",
}

BY_EXECUTIONS: Final = frozenset(  # all that they change is found by executions, trades and new orders
    kind.__name__
    for kind in (
        *(PlaceOrder, AmendOrder, CancelOrder, ExpireOrders),
        *(MassQuote, CancelQuotes, SetMmp, ResetMmp),
    )
)
BY_ACCOUNT: Final = frozenset(  # and here also by the account that they name
    kind.__name__ for kind in (CancelAll, Unblock, ResolveOrder, OpenAccount, Deposit, Withdraw, SendCash, ReceiveCash)
)

OTHERS = "SELECT kind, body->>'account_id' FROM command_log WHERE seq > $1 AND kind <> ALL($2)"
EXECUTED_BY = "SELECT account_id, max(sequence) FROM execution WHERE engine_seq > $1 GROUP BY account_id"
CHANGED_ORDERS = f"""
    SELECT {ORDER_COLUMNS} FROM orders WHERE order_id = ANY(
        SELECT (line->'order'->>'order_id')::bigint FROM execution, json_array_elements(rows) line
        WHERE engine_seq > $1
    )
"""
NEW_ANSWERS = recovery.FIRST_ANSWERS.replace("ORDER BY", "AND order_id > $1 ORDER BY")
TRADED = """
    SELECT loan_id, buyer, seller, price FROM trade WHERE trade_id > $1 ORDER BY trade_id
"""
ACCOUNTS_OF = recovery.ACCOUNTS.replace("ORDER BY", "WHERE a.account_id = ANY($1) ORDER BY")
CASH_OF = recovery.CASH + " AND account_id = ANY($2)"
CLAIMS_OF = f"{recovery.CLAIMS} AND (account_id, loan_id) IN (SELECT * FROM unnest($2::text[], $3::text[]))"
NEW_CUSTODY = recovery.CUSTODY_MOVEMENTS.replace("ORDER BY", "WHERE seq > $1 ORDER BY")
NEW_SENT = f"SELECT {recovery.MOVE_COLUMNS} FROM cash_move WHERE seq > $1 ORDER BY seq"
NEW_RECEIVED = f"SELECT {recovery.RECEIPT_COLUMNS} FROM cash_receipt WHERE seq > $1 ORDER BY seq"
NEW_FENCED = recovery.FENCED_IDS.replace("ORDER BY", "WHERE seq > $1 ORDER BY")
SUMS = """
    SELECT count(*), coalesce(sum(leaves), 0)::bigint, coalesce(sum(hold), 0)::bigint,
           (SELECT coalesce(sum(total), 0)::bigint FROM cash_balance WHERE account_id <> ALL($1)),
           (SELECT coalesce(sum(face), 0)::bigint FROM position WHERE account_id <> $2)
    FROM orders WHERE is_open
"""


class WarmCopy:
    """`follow` beside whatever waits for the lease; `take` once it is held."""

    def __init__(self, partition: int = 0) -> None:
        self._session = {**SESSION, "search_path": schema_of(partition)}
        self._venue: Venue | None = None
        self._following: asyncio.Task[None] | None = None
        self._is_taken = False

    @property
    def seq(self) -> Seq | None:
        """How far the copy has followed; None while there is none."""
        return None if self._venue is None else self._venue.seq

    async def follow(self, dsn: str) -> None:
        """Keep the copy as the tables are, until cancelled or taken."""
        self._following = asyncio.current_task()
        while not self._is_taken:
            try:
                await self._follow(dsn)
            except TROUBLE as e:
                log.warning("tables_unread error=%s", e)
            await asyncio.sleep(RETRY_S)

    async def catch_up(self, connection: asyncpg.Connection) -> bool:
        """Move on to what is committed now; True if all had to be read anew."""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            if self._venue is not None:
                seq = Seq(await connection.fetchval(recovery.SEQ))
                if seq == self._venue.seq:
                    return False
                if (changes := await _changes(connection, self._venue)) is not None:
                    last_trade_id = TradeId(await connection.fetchval(recovery.LAST_TRADE))
                    venue, self._venue = self._venue, None  # one that fails half-way is of no use
                    venue.move_on(seq, changes, last_trade_id=last_trade_id)
                    self._venue = venue  # no await since: cancelling does not lose it
                    return False
            self._venue = None  # before the next one is read: not two at once
            self._venue = await recovery.recover(connection)
            return True

    async def take(self, connection: asyncpg.Connection) -> Venue | None:
        """Give away the copy as of the caller's transaction, which must be REPEATABLE READ; None if it is of no use."""
        self._is_taken = True
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following}, timeout=STOP_TIMEOUT_S)
        venue, self._venue = self._venue, None
        if venue is None or (changes := await _changes(connection, venue)) is None:
            return None
        seq = Seq(await connection.fetchval(recovery.SEQ))
        behind = seq - venue.seq
        last_trade_id = TradeId(await connection.fetchval(recovery.LAST_TRADE))
        venue.move_on(seq, changes, last_trade_id=last_trade_id)
        told = tuple(await connection.fetchrow(SUMS, recovery.OUTSIDE, ISSUE))
        if told != _sums(venue):
            log.error("warm_copy_differs tables=%s copy=%s", told, _sums(venue))
            return None
        log.info("warm_copy_taken seq=%d behind=%d", venue.seq, behind)
        return venue

    async def _follow(self, dsn: str) -> None:
        """Until the connection ends."""
        loop = asyncio.get_running_loop()
        connection = await asyncpg.connect(dsn, server_settings=self._session, timeout=CONNECT_TIMEOUT_S)
        try:
            while not connection.is_closed():
                began = loop.time()
                if await self.catch_up(connection):
                    log.info("warm_copy_read seq=%d seconds=%.2f", self.seq, loop.time() - began)
                    gc.freeze()  # what was read lives for long: the collector need not walk it again and again
                    await asyncio.sleep(REST_PER_READ * (loop.time() - began))
                await asyncio.sleep(POLL_S)
        finally:
            connection.terminate()


async def _changes(connection: asyncpg.Connection, venue: Venue) -> list[Event] | None:
    """Return what differs from `venue` in the transaction's tables; None if that can't be told by growing keys."""
    since = venue.seq
    others = await connection.fetch(OTHERS, since, BY_EXECUTIONS)
    if not {kind for kind, _ in others} <= BY_ACCOUNT:
        return None
    named = {account_id for _, account_id in others}
    events: list[Event] = [
        *map(recovery.market_changed, await connection.fetch(recovery.MARKET)),
        *map(recovery.account_changed, await connection.fetch(ACCOUNTS_OF, named)),
    ]
    if others:
        events += [CustodyMoved(**row) for row in await connection.fetch(NEW_CUSTODY, since)]
        events += [CashSent(**row) for row in await connection.fetch(NEW_SENT, since)]
        events += [CashReceived(**row) for row in await connection.fetch(NEW_RECEIVED, since)]
        events += [IdFenced(**row) for row in await connection.fetch(NEW_FENCED, since)]
    executed: dict[str, int] = dict(await connection.fetch(EXECUTED_BY, since))
    events += _exec_seqs(venue, {who: last for who, last in executed.items() if who not in named})
    trades = await connection.fetch(TRADED, venue.state.last_trade_id)
    events += _last_prices(venue, trades)
    holders = {(row[side], row["loan_id"]) for row in trades for side in ("buyer", "seller")}
    owners = named | {account_id for account_id, _ in holders} | ({HOUSE} if trades else set())
    events += [CashChanged(**row, held=Minor(0)) for row in await connection.fetch(CASH_OF, recovery.OUTSIDE, owners)]
    claims = [list(column) for column in zip(*holders, strict=True)] or [[], []]
    events += map(recovery.claim_changed, await connection.fetch(CLAIMS_OF, ISSUE, *claims))
    events += map(recovery.first_answer, await connection.fetch(NEW_ANSWERS, since))
    events += [MmpChanged(**row) for row in await connection.fetch(recovery.MMP_GROUPS)]
    orders = await connection.fetch(CHANGED_ORDERS, since)
    events += [OpenOrder(order=recovery.order_state(row)) for row in orders]
    return events


def _exec_seqs(venue: Venue, last: Mapping[str, int]) -> list[AccountChanged]:
    accounts: Mapping[Any, Any] = venue.state.accounts
    return [replace(account_changed(accounts[who]), exec_seq=sequence) for who, sequence in last.items()]


def _last_prices(venue: Venue, trades: Sequence[asyncpg.Record]) -> list[LoanChanged]:
    loans: Mapping[Any, Any] = venue.state.loans
    prices = {row["loan_id"]: row["price"] for row in trades}  # the last one stays
    return [replace(loans[loan_id].changed(), last_price=price) for loan_id, price in prices.items()]


def _sums(venue: Venue) -> tuple[int, int, int, int, int]:
    """Return the sums that SUMS asks of the tables."""
    orders, accounts = venue.state.orders.values(), venue.state.accounts.values()
    return (
        len(orders),
        sum(order.leaves for order in orders),
        sum(order.hold for order in orders),
        sum(cash.total for account in accounts for cash in account.cash.values()),
        sum(claim.total for account in accounts for claim in account.claims.values()),
    )
