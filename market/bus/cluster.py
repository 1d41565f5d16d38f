"""One slot of a Redis Cluster, as a client that is always connected to the node which has it.

All that the bus keeps of a partition has one hash tag (see names), so it is one slot, and its node is to the
partition what a Redis alone is: it keeps the order of messages, and its end ends nothing but this partition. So this is
the plain client but for three things. A connection, whenever it is made, asks the nodes that are known where the slot
is. A call that a node would not carry out because the slot is elsewhere, or is just moving, is sent there: that is no
second time. Channels are sharded: only the slot's node carries them, and who listens where the slot is no more gets a
ConnectionError, as from a Redis that went away.

The library's client for clusters is not used: one node in trouble costs it the connections to all, and who listens to a
slot that has moved hears nothing until some call of the same client is redirected.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline, PubSub
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, ClusterError, ConnectionError, MovedError, RedisError

log = logging.getLogger(__name__)

REDIRECTS_MAX: Final = 8
PAUSE_S: Final = 0.02  # nodes agree on where a slot is within some messages to each other

Address = tuple[str, int]


class Slot:
    """Where a slot is. nodes: some of the cluster's, to ask.  options: of connections to them."""

    def __init__(self, number: int, nodes: Sequence[Address], options: dict[str, Any]) -> None:
        self.number = number
        self._nodes = list(nodes)
        self._options = options
        self._owner: Address | None = None
        self._asking = asyncio.Lock()

    async def owner(self) -> Address:
        """Return the node that has the slot. Raises ConnectionError if none of the nodes says so."""
        async with self._asking:
            if self._owner is None:
                self._owner = await self._ask()
                log.info("slot_found slot=%d node=%s:%d", self.number, *self._owner)
            return self._owner

    def found(self, owner: Address) -> None:
        self._owner = owner

    def forget(self) -> None:
        """Have whoever connects next ask again."""
        self._owner = None

    def node(self, address: Address) -> Any:
        """Return a plain client of one node, whatever slots it has. To be closed."""
        host, port = address
        return Redis.from_pool(ConnectionPool(host=host, port=port, **self._options))

    async def _ask(self) -> Address:
        trouble: Exception | None = None
        owner: Address | None = None
        for address in tuple(self._nodes):
            try:
                async with self.node(address) as node:
                    ranges = await node.execute_command("CLUSTER SLOTS")
            except (RedisError, OSError) as e:
                trouble = e
                self._nodes.remove(address)
                self._nodes.append(address)  # to be asked last
                continue
            for first, last, (host, port, *_), *_ in ranges:
                primary = (host.decode() if host else address[0]), port
                if primary not in self._nodes:
                    self._nodes.append(primary)
                if first <= self.number <= last:
                    owner = primary
            if owner is not None:
                return owner
        raise ConnectionError(f"no node of the cluster says where slot {self.number} is: {trouble}") from trouble


class _ToSlot(Connection):
    """A connection to wherever the slot is at that moment."""

    def __init__(self, *, slot: Slot, **options: Any) -> None:
        super().__init__(**options)
        self._slot = slot

    async def _connect(self) -> None:
        self.host, self.port = await self._slot.owner()
        plain: Any = super()
        await plain._connect()

    async def disconnect(self, *args: Any, **options: Any) -> None:
        self._slot.forget()  # a node that is lost may have lost the slot, too
        await super().disconnect(*args, **options)

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except MovedError as e:
            host = self.host
            await self.disconnect(nowait=True)
            self._slot.found((e.host or host, e.port))
            raise
        except ClusterDownError:
            await self.disconnect(nowait=True)
            raise


class _ToSlotByTls(_ToSlot, SSLConnection):
    pass


class _ShardedPipeline(Pipeline):
    def publish(self, channel: Any, message: Any, **options: Any) -> Any:
        return self.spublish(channel, message, **options)


class _ShardedPubSub(PubSub):
    async def subscribe(self, *channels: Any, **handlers: Any) -> None:
        await self.ssubscribe(*channels, **handlers)

    async def handle_message(self, response: Any, ignore_subscribe_messages: bool = False) -> Any:
        if response is not None and response[0] == b"sunsubscribe":
            raise ConnectionError(f"channel {response[1]!r} is on another node now")
        plain: Any = super()
        return await plain.handle_message(response, ignore_subscribe_messages)


class SlotRedis(Redis):
    """A client of the node that has a slot, whichever that is. All keys and channels must be of this slot."""

    def __init__(self, slot: Slot, pool: ConnectionPool) -> None:
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self._slot = slot

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        asked: Address | None = None
        plain: Any = super()
        for attempt in range(REDIRECTS_MAX):
            try:
                if asked is None:
                    return await plain.execute_command(*args, **options)
                return await self._at(asked, args, options)
            except MovedError:
                asked = None
            except AskError as e:
                asked = e.host or (await self._slot.owner())[0], e.port
            await asyncio.sleep(PAUSE_S * min(attempt, 1))
        raise ClusterError(f"the nodes don't agree on where slot {self._slot.number} is")

    async def _at(self, address: Address, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call a node to which the slot is moving, for a key that is there already."""
        async with self._slot.node(address) as node, node.pipeline(transaction=False) as pipe:
            pipe.execute_command("ASKING")
            pipe.execute_command(*args, **options)
            return (await pipe.execute())[1]

    def publish(self, channel: Any, message: Any, **options: Any) -> Any:
        return self.spublish(channel, message, **options)

    def pubsub(self, **options: Any) -> PubSub:
        return _ShardedPubSub(self.connection_pool, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _ShardedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


def slot_client(nodes: Sequence[Address], key: str, *, is_encrypted: bool, **options: Any) -> SlotRedis:
    """Return a client for the slot of a key. nodes: where to ask first.  options: of redis.asyncio's connections."""
    with_tls = {"connection_class": SSLConnection} if is_encrypted else {}
    slot = Slot(key_slot(key.encode()), nodes, options | with_tls)
    kind = _ToSlotByTls if is_encrypted else _ToSlot
    return SlotRedis(slot, ConnectionPool(connection_class=kind, slot=slot, **options))
