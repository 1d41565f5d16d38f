"""The engine's ear: reads the stream of commands that gateways write, from where the last commit left it.

A place in the stream is `<entry id>/<index>`: an entry holds what one gateway sent in one turn. It is recorded in the
batch of the command that stands there, so after a crash or a takeover reading goes on exactly behind the last outcome
that is durable. What Redis forgot before that was never acknowledged.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from redis.asyncio import Redis

from market.bus.broadcast import Broadcast
from market.bus.codec import KINDS, Sent, unframed, unpack, untagged
from market.bus.connect import TROUBLE, ending
from market.bus.names import Names
from market.commands import Command
from market.engine import Engine, Origin
from market.errors import Busy, InvalidArguments, MarketError, Unavailable
from market.events import Event
from market.ids import Seq
from market.port import CALLER, Answer, Caller, Committed, Reply

log = logging.getLogger(__name__)

ENTRIES_AT_ONCE: Final = 256
BLOCK_MS: Final = 500
PAUSE_S: Final = 0.2
TRIM_S: Final = 1.0
BEGINNING: Final = "0-0"

Entry = tuple[bytes, dict[bytes, bytes]]


class Intake:
    """An engine listener. `run` it beside the engine. outstanding_max: commands read whose outcome is open."""

    def __init__(
        self, redis: "Redis", engine: Engine, broadcast: Broadcast, names: Names, *, outstanding_max: int
    ) -> None:
        self._redis = redis
        self._engine = engine
        self._broadcast = broadcast
        self._names = names
        self._outstanding_max = outstanding_max
        self._read: str | None = None  # id of the last entry that was handed over whole
        self._done = BEGINNING  # id of the last entry of which an outcome is durable
        self._outstanding = 0
        self._room = asyncio.Event()
        self._generation = 0

    @property
    def outstanding(self) -> int:
        """How many commands were read whose outcome is not durable yet."""
        return self._outstanding

    def on_snapshot(self, _epoch: int, _seq: Seq, _events: Sequence[Event]) -> None:
        """Memory was rebuilt: what was read beyond the last commit is read again."""
        self._generation += 1
        self._read = None
        self._outstanding = 0
        self._room.set()

    def on_entry(self, _entry: Committed) -> None: ...

    def on_batch_end(self) -> None: ...

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_forever())
            tasks.create_task(self._trim_forever())

    async def _read_forever(self) -> None:
        while not ending():
            await self._engine.online()
            try:
                await self._read_on(self._generation)
            except TROUBLE as e:
                log.warning("commands_unread error=%s", e)
                await asyncio.sleep(PAUSE_S)

    async def _read_on(self, generation: int) -> None:
        """Hand over what comes until the engine is rebuilt."""
        if self._read is None:
            await self._resume(generation)
        stream = self._names.commands
        while generation == self._generation and not ending():
            found: Any = await self._redis.xread(
                {stream: self._read or BEGINNING}, count=ENTRIES_AT_ONCE, block=BLOCK_MS
            )
            for entry in found[0][1] if found else []:
                if not await self._hand_over(entry, 0, generation):
                    return

    async def _resume(self, generation: int) -> None:
        """Hand over the rest of the entry in the middle of which the last commit ended."""
        entry_id, _, index = self._engine.consumed.get(self._names.commands, f"{BEGINNING}/0").partition("/")
        begun: Any = await self._redis.xrange(self._names.commands, entry_id, entry_id)
        for entry in begun:
            await self._hand_over(entry, int(index) + 1, generation)
        if generation == self._generation:
            self._read = entry_id

    async def _hand_over(self, entry: Entry, first: int, generation: int) -> bool:
        """Send the entry's commands from index `first` to the engine; False once it was rebuilt."""
        entry_id, fields = entry[0].decode(), entry[1]
        gateway = fields[b"gateway"].decode()
        for index, sent in enumerate(_commands_in(fields[b"commands"])):
            if index < first:
                continue
            while generation == self._generation and self._outstanding >= self._outstanding_max:
                self._room.clear()
                await self._room.wait()
            if generation != self._generation:
                return False
            try:
                wanted = untagged(KINDS, sent.command)
            except ValueError as e:  # of a gateway of another version
                self._broadcast.reply(
                    gateway, sent.number, InvalidArguments(f"the engine does not know this command: {e}")
                )
                self._broadcast.on_batch_end()
                continue
            reply = partial(self._told, gateway, sent.number, entry_id, generation)
            origin = Origin(self._names.commands, f"{entry_id}/{index}")
            # Of this task, which sends one by one.
            CALLER.set(None if sent.request_id is None else Caller(sent.request_id, sent.trace))
            await self._send(wanted, sent.actor, reply, sent.joined and index > first, origin)
        self._read = entry_id
        return True

    async def _send(self, command: Command, actor: str, reply: Reply, joined: bool, origin: Origin) -> None:
        while True:
            try:
                self._engine.send(command, actor=actor, reply=reply, joined=joined, origin=origin)
                self._outstanding += 1
                return
            except Busy:
                await asyncio.sleep(PAUSE_S)
            except Unavailable:  # it is rebuilt, then this is read again; or it stops for good
                return

    def _told(self, gateway: str, number: int, entry_id: str, generation: int, told: Answer | MarketError) -> None:
        if generation == self._generation:
            self._outstanding -= 1
            self._done = entry_id
            self._room.set()
        self._broadcast.reply(gateway, number, told)

    async def _trim_forever(self) -> None:
        """Let Redis forget what needs no reading again."""
        while not ending():
            await asyncio.sleep(TRIM_S)
            if self._done != BEGINNING:
                try:
                    await self._redis.xtrim(self._names.commands, minid=self._done, approximate=True)
                except TROUBLE as e:
                    log.warning("commands_untrimmed error=%s", e)


def _commands_in(message: bytes) -> list[Sent]:
    """Return an entry's commands; none if it can't be read: its gateway hears nothing, and tells its clients so."""
    try:
        found: list[Sent] = unpack(list[Sent], unframed(message)[1])
    except ValueError as e:
        log.error("commands_passed_over error=%s", e)
        return []
    return found
