"""The engine's mouth: after each commit the replies to each gateway, then what readers hear of it, in this order.

A gateway hears both over one connection, so an acknowledgement comes before what its command caused. Nothing here waits
for Redis or keeps what it could not take: a gateway that misses a commit sees so by its number and asks for the state.
"""

import asyncio
import logging
import secrets
import zlib
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Final

from redis.asyncio import Redis

from market.bus.codec import Ask, Batch, Outcome, State, entry_of, framed, outcome_of, pack_events, unframed, unpack
from market.bus.connect import TROUBLE, ending
from market.bus.names import Names
from market.engine import Engine
from market.errors import MarketError
from market.events import BookChanged, Event, Traded
from market.ids import LoanId, Seq
from market.port import Answer, Committed, Phase

log = logging.getLogger(__name__)

HEARTBEAT_S: Final = 0.25
LEADER_LIFE_MS: Final = 600  # a silent engine is missed after this and what a standby adds
COMMIT_S_MAX: Final = 3.0  # far above any commit
QUEUE_MAX: Final = 20_000  # messages that Redis has not taken yet
CHUNK_EVENTS: Final = 2_000
SLICE_EVENTS: Final = 100  # of a state, between which others get their turn: about a millisecond
SNAPSHOT_LIFE_S: Final = 60
POLL_S: Final = 1.0
PAUSE_S: Final = 0.2


class Broadcast:
    """An engine listener. `run` it beside the engine."""

    def __init__(self, redis: "Redis", engine: Engine, names: Names) -> None:
        self._redis = redis
        self._engine = engine
        self._names = names
        self._queue: deque[tuple[str, bytes]] = deque()
        self._wake = asyncio.Event()
        self._replies: defaultdict[str, list[Outcome]] = defaultdict(list)
        self._entries: list[Committed] = []
        self._epoch = 0
        self._seq = Seq(0)
        self._began = Seq(0)
        self._consumed = ""  # of the stream of commands, when this epoch began
        self._books: dict[LoanId, Seq] = {}  # the last command of this epoch that changed each
        self._asking: set[str] = set()
        self._served: set[str] = set()  # gateways for which the state is being written down
        self._descriptions: set[asyncio.Task[None]] = set()
        self._since: list[Event] | None = None  # told since the state is being described
        self._told = asyncio.Event()

    @property
    def depth(self) -> int:
        """How many messages Redis has not taken yet."""
        return len(self._queue)

    def reply(self, gateway: str, number: int, told: Answer | MarketError) -> None:
        """Tell a gateway what became of its command, with the batch that is being released."""
        self._replies[gateway].append(outcome_of(number, told))

    def on_snapshot(self, epoch: int, seq: Seq, _events: Sequence[Event]) -> None:
        self.on_batch_end()  # what was told outside of a batch
        self._epoch, self._seq, self._began = epoch, seq, seq
        self._consumed = self._engine.consumed.get(self._names.commands, "")
        self._books.clear()
        self._told.set()
        self._sign_of_life()

    def on_entry(self, entry: Committed) -> None:
        self._entries.append(entry)
        for event in entry.events:
            if type(event) is BookChanged:
                self._books[event.loan_id] = entry.seq
        if self._since is not None:
            self._since += [event for event in entry.events if type(event) is not Traded]

    def on_batch_end(self) -> None:
        for gateway, rows in self._replies.items():
            self._put(self._names.replies(gateway), framed("replies", rows))
        self._replies.clear()
        if self._entries:
            seq = self._entries[-1].seq
            self._tell(seq)
            self._seq = seq
            self._entries.clear()
            self._told.set()

    async def run(self) -> None:
        """Publish, give signs of life, answer who asks for the state, until cancelled."""
        await self._engine.online()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish_forever())
            tasks.create_task(self._live())
            tasks.create_task(self._hear_asks())

    async def flush(self) -> None:
        """Publish what is left, after an engine that was drained: the replies to its last commands."""
        if self._queue:
            await self._publish()

    def _put(self, channel: str, message: bytes) -> None:
        if len(self._queue) >= QUEUE_MAX:
            log.warning("broadcast_dropped messages=%d", len(self._queue))
            self._queue.clear()
        self._queue.append((channel, message))
        self._wake.set()

    async def _publish_forever(self) -> None:
        while not ending():
            await self._wake.wait()
            self._wake.clear()
            if not await self._publish():
                await asyncio.sleep(PAUSE_S)

    async def _publish(self) -> bool:
        """Hand over the queue; False if Redis did not take it."""
        pipe = self._redis.pipeline(transaction=False)
        count = len(self._queue)
        for _ in range(count):
            pipe.publish(*self._queue.popleft())
        try:
            await pipe.execute()
        except TROUBLE as e:
            log.warning("broadcast_lost messages=%d error=%s", count, e)
            return False
        return True

    async def _live(self) -> None:
        """Say all the time who writes and how far: a reader notices a commit that it missed, a standby our end.

        Whose commit hangs does not say so: it may be cut off from a database that others reach.
        """
        while not ending():
            if self._engine.phase is Phase.ONLINE and self._engine.committing_for_s < COMMIT_S_MAX:
                self._sign_of_life()
                try:
                    await self._redis.set(self._names.leader, f"{self._epoch}", px=LEADER_LIFE_MS)
                except TROUBLE as e:
                    log.warning("leader_unseen error=%s", e)
            await asyncio.sleep(HEARTBEAT_S)

    def _sign_of_life(self) -> None:
        self._tell(self._seq)

    def _tell(self, seq: Seq) -> None:
        entries = tuple(map(entry_of, self._entries))
        batch = Batch(self._epoch, self._seq, seq, entries, self._began, self._consumed)
        self._put(self._names.events, framed("batch", batch))

    async def _hear_asks(self) -> None:
        while not ending():
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as asks:
                    await asks.subscribe(self._names.asks)
                    while not ending():
                        if (message := await asks.get_message(timeout=POLL_S)) is not None:
                            self._ask(message["data"])
            except TROUBLE as e:
                log.warning("asks_unheard error=%s", e)
                await asyncio.sleep(PAUSE_S)

    def _ask(self, message: bytes) -> None:
        try:
            ask = unpack(Ask, unframed(message)[1])
        except ValueError as e:
            log.warning("ask_unread error=%s", e)
            return
        if ask.gateway not in self._served:  # else it has grown impatient, and will have it soon
            self._asking.add(ask.gateway)
            self._serve_asking()

    def _serve_asking(self) -> None:
        """Describe the state for all who ask, one time after the other."""
        if self._asking and not self._served:
            self._served, self._asking = self._asking, set()
            task = asyncio.create_task(self._describe(self._epoch))
            self._descriptions.add(task)
            task.add_done_callback(self._descriptions.discard)

    async def _describe(self, epoch: int) -> None:
        """Write the state down bit by bit while the market goes on, then what was committed meanwhile."""
        key, since = self._names.snapshot(epoch, self._seq, secrets.token_hex(4)), list[Event]()
        self._since = since
        try:
            await self._write_down(key, self._engine.outline(), epoch)
            needed = self._engine.applied_seq
            while self._epoch == epoch and self._seq < needed:
                self._told.clear()
                await self._told.wait()
            self._since = None
            state = State(epoch, self._seq, key, self._consumed, is_numbered=True)
            await self._write_down(key, chain(since, _numbers(dict(self._books))), epoch)
            if self._epoch == epoch:
                for gateway in self._served:
                    self._put(self._names.replies(gateway), framed("state", state))
            else:
                self._asking |= self._served  # what was written down may never have been committed
        except TROUBLE as e:
            log.warning("snapshot_lost error=%s", e)  # who asked asks again
        finally:
            self._since, self._served = None, set()
            self._serve_asking()

    async def _write_down(self, key: str, events: Iterator[Event], epoch: int) -> None:
        """Add events to the list that is the state, as long as the epoch lasts. Others get their turn all the time."""
        chunk = list[Event]()
        while self._epoch == epoch and (slice_ := list(islice(events, SLICE_EVENTS))):
            chunk += slice_
            if len(chunk) >= CHUNK_EVENTS:
                await self._add(key, chunk)
                chunk = []
            await asyncio.sleep(0)
        if chunk:
            await self._add(key, chunk)

    async def _add(self, key: str, chunk: Sequence[Event]) -> None:
        await self._redis.rpush(key, await asyncio.to_thread(_compressed, chunk))
        await self._redis.expire(key, SNAPSHOT_LIFE_S)


def _numbers(books: Mapping[LoanId, Seq]) -> Iterator[Event]:
    """Yield which command changed each book last; FIRST_SEQ is that of all others."""
    return (BookChanged(loan_id=loan_id, changes=(), seq=seq) for loan_id, seq in books.items())


def _compressed(events: Sequence[Event]) -> bytes:
    return zlib.compress(pack_events(events), level=1)
