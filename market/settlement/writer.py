"""The one writer: a batch becomes durable in one transaction and one round trip, or not at all.

Who may write is decided by the epoch in the lease row, which each transaction checks before anything else. The
advisory lock only keeps a second engine from trying; the session that commits holds it: the two live and die together.

After a commit that failed in an unclear way the answer comes fence-first: end the old session, raise the epoch (which
waits for the old transaction to end, whichever way), then read how far the log goes.
"""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import asyncpg

from market.engine import NOTHING_CONSUMED, Doubtful, LeaseLost, NotCommitted
from market.errors import InvariantViolation
from market.events import LogEntry
from market.ids import Seq
from market.partitions import schema_of
from market.settlement.log import encode
from market.settlement.migrate import ADVISORY_SPACE
from market.settlement.recovery import recover
from market.settlement.rows import rows_of
from market.settlement.warm import WarmCopy
from market.venue.venue import Venue

log = logging.getLogger(__name__)

ENGINE_LOCK = 2
FENCED = "ZF001"  # SQLSTATE raised by the fence
FAULTS_OF_THE_BATCH = {"22", "23", "44", "P0"}  # SQLSTATE classes that the same rows would meet again
LOCK_POLL_S = 0.05
RENEW_WAIT_S = 5.0
TERMINATE_MS = 10_000
CLOSE_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
SESSION_LOST = (  # the server is away, or has ended our session
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)

SESSION = {
    "application_name": "debt-market engine",
    "synchronous_commit": "on",  # acknowledged means durable, whatever the server's default is
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": "5",  # a server that does not notice a dead engine keeps its lock
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
BATCH = ", ".join(f"${i}" for i in range(1, 20))
COMMIT_BATCH = (
    f"SELECT commit_batch({BATCH}), commit_controls($1, $3, $20, $21), "
    "commit_mmp($1, $3, $22), commit_lots($1, $3, $23, $24), commit_rules($1, $3, $25, $26), "
    "commit_moves($1, $3, $27, $28), commit_consumed($1, $3, $29, $30)"
)
COMMIT_CONSUMED = "SELECT commit_consumed($1, $2, $3, $4)"
CONSUMED = "SELECT stream, position FROM command_stream"
RAISE_EPOCH = "SELECT epoch, seq, log_head FROM raise_epoch($1, $2)"
QUARANTINE = """
    INSERT INTO quarantine (epoch, seq, at, actor, kind, body, error) VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
LOCK_HOLDERS = """
    SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.classid = $1 AND l.objid = $2 AND l.objsubid = 2 AND l.granted
      AND d.datname = current_database()
"""


def engine_lock(partition: int) -> int:
    """Return the key, within our space, of the advisory lock that the engine of a partition holds."""
    return ENGINE_LOCK + (partition << 8)


def this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def _lost_session_is_doubtful() -> Iterator[None]:
    try:
        yield
    except SESSION_LOST as e:
        raise Doubtful(f"{type(e).__name__}: {e}") from e


class PostgresStore:
    """`engine.Store` on PostgreSQL.

    holder: who we are, for people; made unique here.
    wait_s: how long `open` waits for another engine to give up the lease.  takeover: then end its session instead of
    giving up ourselves.  reconnect_s: how long to try to reach the server before failing.
    warm: a copy of the tables that has been kept, for the first rebuild.  partition: whose ledger it is.
    """

    def __init__(
        self,
        dsn: str,
        *,
        holder: str | None = None,
        wait_s: float = 5.0,
        takeover: bool = False,
        reconnect_s: float = 30.0,
        warm: WarmCopy | None = None,
        partition: int = 0,
    ) -> None:
        self.epoch = 0
        self.on_lost: Callable[[], None] = lambda: None
        self.consumed: Mapping[str, str] = NOTHING_CONSUMED
        self._dsn = dsn
        self._holder = f"{holder or this_process()} {secrets.token_hex(4)}"
        self._wait_s = wait_s
        self._takeover = takeover
        self._is_hurried = False
        self._reconnect_s = reconnect_s
        self._warm = warm
        self._session = {**SESSION, "search_path": schema_of(partition)}
        self._lock = engine_lock(partition)
        self._connection: asyncpg.Connection | None = None
        self._statement: asyncpg.prepared_stmt.PreparedStatement | None = None
        self._server_pid = 0  # of the last session, to be sure that it is gone
        self._running: asyncio.Task[None] | None = None
        self._seq = Seq(0)
        self._head = b""

    async def open(self) -> None:
        """Take the lease. Raises LeaseLost, naming the holder, if another engine keeps it for longer than wait_s."""
        connection = await self._connect()
        try:
            await self._take_lock(connection)
            log.info("lock_taken")
            await self._begin_epoch(connection, renew=False)
            log.info("epoch_begun epoch=%d seq=%d", self.epoch, self._seq)
        except BaseException:
            connection.terminate()
            raise
        self._wait_s = min(self._wait_s, RENEW_WAIT_S)  # a standby may wait for ever, an engine that had the lease not

    def hurry(self) -> None:
        """Wait no longer for an engine that is of no use any more: end its session, as in a takeover."""
        self._takeover = self._is_hurried = True

    async def recover(self) -> Venue:
        connection = self._live()
        with _lost_session_is_doubtful():
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                venue = await self._taken(connection) or await recover(connection)
                self.consumed = dict(await connection.fetch(CONSUMED))
        if venue.seq != self._seq:
            raise LeaseLost(f"the log goes to {venue.seq}, not to {self._seq}: another engine wrote")
        return venue

    async def _taken(self, connection: asyncpg.Connection) -> Venue | None:
        warm, self._warm = self._warm, None
        return None if warm is None else await warm.take(connection)

    async def commit(self, entries: Sequence[LogEntry], consumed: Mapping[str, str] = NOTHING_CONSUMED) -> None:
        """Make `entries`, which follow the last ones without a gap, durable together, and with them what was consumed.

        A cancellation of the caller does not reach the transaction: it goes on, and `resolve` or `close` meets its end.
        """
        if not entries and not consumed:
            return
        if [entry.seq for entry in entries] != list(range(self._seq + 1, self._seq + len(entries) + 1)):
            raise InvariantViolation(f"a batch from {entries[0].seq} does not follow {self._seq} without a gap")
        self._running = asyncio.ensure_future(self._commit(entries, consumed))
        await asyncio.shield(self._running)

    async def resolve(self) -> Seq:
        """Return how far the log goes, for good.

        Raises LeaseLost if another engine raised the epoch meanwhile, OSError or Doubtful if the server can't be
        reached now: ask again. An answer that was lost on the way does no harm, for the lease knows its holder.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
        await self._settle_running()
        with _lost_session_is_doubtful():
            connection = await self._connect()
            try:
                async with asyncio.timeout(self._reconnect_s):
                    await self._end_sessions(connection, only_pid=self._server_pid)
                    await self._take_lock(connection, may_take=False)
                    await self._begin_epoch(connection, renew=True)
            except BaseException:
                connection.terminate()
                raise
        return self._seq

    async def quarantine(self, entry: LogEntry, error: str) -> None:
        kind, body = encode(entry.command)
        texts = [text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0") for text in (body, error)]
        row = (self.epoch, entry.seq, entry.at, entry.actor, kind, *texts)
        with _lost_session_is_doubtful():
            await self._live().execute(QUARANTINE, *row)

    async def close(self) -> None:
        """Wait for a running commit and give up the lease. A session that is gone by then has given it up already."""
        await self._settle_running()
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            try:
                await connection.close(timeout=CLOSE_TIMEOUT_S)
            except SESSION_LOST:
                connection.terminate()

    async def _commit(self, entries: Sequence[LogEntry], consumed: Mapping[str, str]) -> None:
        try:
            rows = rows_of(entries, epoch=self.epoch, head=self._head)
        except (ValueError, TypeError, OverflowError) as e:
            raise NotCommitted(f"the batch can't be written: {e}", permanent=True) from e
        next_seq = entries[-1].seq if entries else self._seq
        connection, statement = self._live(), self._statement
        assert statement is not None
        read = (list(consumed), list(consumed.values()))
        try:
            if entries:
                beside = (*rows.controls(), rows.protection(), *rows.holdings(), *rows.rules(), *rows.moves())
                written = (*rows.arguments(), *beside)
                await statement.fetch(self.epoch, self._seq, next_seq, rows.head, *written, *read)
            else:
                await connection.execute(COMMIT_CONSUMED, self.epoch, next_seq, *read)
        except asyncpg.PostgresError as e:
            raise _meaning_of(e, connection) from e
        except Exception as e:  # whatever it is: the statement may have been sent
            raise Doubtful(f"{type(e).__name__}: {e}") from e
        self._seq, self._head = next_seq, rows.head

    def _live(self) -> asyncpg.Connection:
        if self._connection is None:
            raise Doubtful("there is no session: resolve first")
        return self._connection

    async def _settle_running(self) -> None:
        if self._running is not None:
            await asyncio.wait([self._running])
            if not self._running.cancelled():
                self._running.exception()  # its caller has heard of it, or was cancelled
            self._running = None

    async def _connect(self) -> asyncpg.Connection:
        """Reach the server, trying again for reconnect_s: it may be starting, or restarting after a crash."""
        deadline = asyncio.get_running_loop().time() + self._reconnect_s
        pause_s = 0.05
        while True:
            try:
                return await asyncpg.connect(self._dsn, server_settings=self._session, timeout=CONNECT_TIMEOUT_S)
            except asyncpg.ClientConfigurationError:
                raise  # a malformed address gets no better with time
            except SESSION_LOST:
                if asyncio.get_running_loop().time() + pause_s > deadline:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 1.0)

    async def _take_lock(self, connection: asyncpg.Connection, *, may_take: bool = True) -> None:
        """Wait for the lock; where another engine keeps it, give up or, in a takeover, end it.

        A takeover raises the epoch before it ends the other's session, which could else reconnect and be first again.
        """
        deadline, is_taking = asyncio.get_running_loop().time() + self._wait_s, False
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", ADVISORY_SPACE, self._lock):
            is_late = asyncio.get_running_loop().time() >= deadline
            if is_late or (may_take and self._is_hurried):
                if not is_taking:
                    holder = await connection.fetchval("SELECT holder FROM lease")
                    if holder == self._holder:
                        raise Doubtful("our own last session has not ended yet")
                    if not (may_take and self._takeover):
                        raise LeaseLost(f"another engine holds the lease: {holder}")
                    await connection.fetchrow(RAISE_EPOCH, self._holder, False)
                    is_taking = True
                await self._end_sessions(connection)
                deadline += self._wait_s
            await asyncio.sleep(LOCK_POLL_S)

    async def _end_sessions(self, connection: asyncpg.Connection, only_pid: int | None = None) -> None:
        """End the session that holds the engine's lock (if it is `only_pid`, where that is given), wait for its end."""
        for (pid,) in await connection.fetch(LOCK_HOLDERS, ADVISORY_SPACE, self._lock):
            if only_pid in (None, pid):
                await connection.execute("SELECT pg_terminate_backend($1, $2)", pid, TERMINATE_MS)

    async def _begin_epoch(self, connection: asyncpg.Connection, *, renew: bool) -> None:
        """Become the writer as of now: from here on whatever an older epoch still sends is refused."""
        await connection.execute("SET ROLE debt_market_engine")
        lease = await connection.fetchrow(RAISE_EPOCH, self._holder, renew)
        if lease is None:
            raise LeaseLost(f"epoch {self.epoch} is over: another engine has taken the lease")
        self.epoch, self._seq, self._head = lease["epoch"], Seq(lease["seq"]), lease["log_head"]
        self._statement = await connection.prepare(COMMIT_BATCH)
        self._connection, self._server_pid = connection, connection.get_server_pid()
        connection.add_termination_listener(self._ended)

    def _ended(self, connection: asyncpg.Connection) -> None:
        """Tell of a session that ended by itself; one that we gave up is no longer ours by then."""
        if connection is self._connection:
            self.on_lost()


def _meaning_of(e: asyncpg.PostgresError, connection: asyncpg.Connection) -> Exception:
    """Tell what an error of the server says about the transaction: gone for certain, or not."""
    if e.sqlstate == FENCED:
        return LeaseLost(str(e))
    if isinstance(e, asyncpg.PostgresConnectionError):  # the driver's own word for a lost link, wrapped as a server's
        return Doubtful(f"{type(e).__name__}: {e}")
    refused_by_driver = e.severity_en is None  # an argument that can't be encoded: nothing was sent
    if refused_by_driver or (e.severity_en == "ERROR" and not connection.is_closed()):
        return NotCommitted(str(e), permanent=refused_by_driver or e.sqlstate[:2] in FAULTS_OF_THE_BATCH)
    return Doubtful(f"{type(e).__name__}: {e}")
