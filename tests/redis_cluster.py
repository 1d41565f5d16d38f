"""A real Redis Cluster for the tests: masters on 127.0.0.1, each with a third of the slots and a folder of its own."""

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from market.bus.names import Names
from tests.patience import PATIENCE_S
from tests.redis_server import RedisProcess, redis_program

SLOTS = 16_384
SHARDED_SINCE = 7  # sharded channels
NODE_TIMEOUT_MS = 15_000  # none is to be declared dead because the machine is busy
STARTS_MAX = 5


class Node(RedisProcess):
    """A server of the cluster that can be killed and started again. It remembers its slots, but no data."""

    def __init__(self, folder: Path, program: str) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._program = folder, program
        self.port, self.bus_port = _free_ports(2)
        self.start()

    def start(self) -> None:
        arguments = {
            "bind": "127.0.0.1", "port": self.port, "cluster-enabled": "yes", "cluster-port": self.bus_port,
            "cluster-node-timeout": NODE_TIMEOUT_MS, "cluster-require-full-coverage": "no", "save": "",
            "appendonly": "no", "repl-diskless-sync-delay": 0, "dir": self._folder, "logfile": "log",
        }  # fmt: skip
        self._process = subprocess.Popen(
            [self._program, *(each for name, value in arguments.items() for each in (f"--{name}", str(value)))]
        )

    def client(self) -> Any:
        return Redis(port=self.port, decode_responses=True)


class RedisCluster:
    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    async def owner(self, names: Names) -> Node:
        """Return the node that has what a partition keeps."""
        async with self.nodes[0].client() as redis:
            ranges = await redis.execute_command("CLUSTER SLOTS")
        slot = slot_of(names)
        [port] = [primary[1] for first, last, primary, *_ in ranges if first <= slot <= last]
        [node] = [each for each in self.nodes if each.port == port]
        return node

    async def form(self) -> None:
        """Give every node its slots and acquaint it with the others."""
        async with asyncio.timeout(PATIENCE_S):
            for i, node in enumerate(self.nodes):
                async with node.client() as redis:
                    first, last = i * SLOTS // len(self.nodes), (i + 1) * SLOTS // len(self.nodes) - 1
                    await redis.execute_command("CLUSTER SET-CONFIG-EPOCH", i + 1)
                    await redis.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
                    for other in self.nodes[:i]:
                        await redis.execute_command("CLUSTER MEET", "127.0.0.1", other.port, other.bus_port)
        await self.is_whole()

    async def is_whole(self) -> None:
        """Wait until every node knows all slots to be held by nodes that answer."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(_sees_all(node, len(self.nodes)) for node in self.nodes))

    async def add_replica(self, node: Node, primary: Node) -> None:
        """Have a node of its own follow another one, until it could take its place."""
        async with node.client() as redis, primary.client() as old, asyncio.timeout(PATIENCE_S):
            await redis.execute_command("CLUSTER MEET", "127.0.0.1", primary.port, primary.bus_port)
            name = await old.execute_command("CLUSTER MYID")

            async def begins() -> bool:
                return bool(await redis.execute_command("CLUSTER REPLICATE", name))

            async def follows() -> bool:
                return bool((await redis.info("replication"))["master_link_status"] == "up")

            await _until(begins)
            await _until(follows)
        self.nodes.append(node)
        await self.is_whole()

    async def begin_move(self, slot: int, source: Node, target: Node) -> None:
        """Open a slot for moving: what is not at its old home any more is at its new one."""
        async with source.client() as old, target.client() as new:
            await new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", await old.execute_command("CLUSTER MYID"))
            await old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", await new.execute_command("CLUSTER MYID"))

    async def move_keys(self, slot: int, source: Node, target: Node) -> None:
        async with source.client() as old:
            while keys := await old.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
                await old.execute_command(
                    "MIGRATE", "127.0.0.1", target.port, "", 0, int(PATIENCE_S * 1_000), "KEYS", *keys
                )

    async def end_move(self, slot: int, target: Node) -> None:
        async with target.client() as new:
            name = await new.execute_command("CLUSTER MYID")
        for node in (target, *(each for each in self.nodes if each is not target)):
            async with node.client() as redis:
                await redis.execute_command("CLUSTER SETSLOT", slot, "NODE", name)


def slot_of(names: Names) -> int:
    return key_slot(names.commands.encode())


def cluster_program() -> str:
    """Return a redis-server that knows sharded channels, or skip: that of the wheel is too old."""
    for program in filter(None, (shutil.which("redis-server"), redis_program())):
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"v=(\d+)", told)
        if found and int(found.group(1)) >= SHARDED_SINCE:
            return program
    pytest.skip(f"no redis-server of version {SHARDED_SINCE} or later on this machine")


@asynccontextmanager
async def running_cluster(folder: Path, masters: int = 3) -> AsyncIterator[RedisCluster]:
    program = cluster_program()
    with ExitStack() as stack:
        nodes = []
        for i in range(masters):
            node = await started_node(folder / f"node-{i}", program)
            stack.callback(node.kill)
            nodes.append(node)
        cluster = RedisCluster(nodes)
        await cluster.form()
        yield cluster


async def started_node(folder: Path, program: str) -> Node:
    """Return a node that answers: another program may have taken its ports in between."""
    for _ in range(STARTS_MAX):
        node = Node(folder, program)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await _answers(node)
        except ChildProcessError:
            continue
        return node
    raise AssertionError((folder / "log").read_text())


async def _answers(node: Node) -> None:
    async def look() -> bool:
        if not node.is_running:
            raise ChildProcessError("redis-server ended")
        async with node.client() as redis:
            return bool(await redis.ping())

    await _until(look)


async def _sees_all(node: Node, count: int) -> None:
    async def look() -> bool:
        async with node.client() as redis:
            told = await redis.execute_command("CLUSTER INFO")
        return (told["cluster_state"], told["cluster_known_nodes"], told["cluster_slots_ok"]) == (
            "ok",
            str(count),
            str(SLOTS),
        )

    await _until(look)


async def _until(look: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a node says so; one that is just starting says nothing. The caller bounds it."""
    while True:
        try:
            if await look():
                return
        except (RedisError, OSError):
            pass
        await asyncio.sleep(0.02)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]
