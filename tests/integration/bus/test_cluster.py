"""A client of one slot of a real Redis Cluster: where it connects, and what it does when the slot is elsewhere."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from market.bus.connect import TROUBLE, client_of, connected
from market.bus.names import Names
from tests.integration.bus.wiring import NAMES, beside
from tests.patience import PATIENCE_S
from tests.redis_cluster import Node, cluster_program, running_cluster, slot_of, started_node

NOBODY = "127.0.0.1:1"
ELSEWHERE = Names(partition=1)
WRITES = 50


async def test_a_slot_that_moves_takes_keys_and_channels_along_and_no_call_is_lost_or_repeated(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        url = cluster.url.replace("//", f"//{NOBODY},")
        source = await cluster.owner(NAMES)
        [target, *_] = [node for node in cluster.nodes if node is not source]
        slot = slot_of(NAMES)
        async with _patient(url) as redis, redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(NAMES.events, NAMES.asks)
            await _listened_to(source, NAMES.events)
            told = redis.pipeline(transaction=False)
            for i in range(3):
                told.publish(NAMES.events, b"%d" % i)
            assert await told.execute() == [1, 1, 1]
            assert [await _next(channel) for _ in range(3)] == [b"0", b"1", b"2"]
            for node in cluster.nodes:
                async with node.client() as client:
                    channels = [NAMES.asks, NAMES.events] if node is source else []
                    assert sorted(await client.pubsub_shardchannels()) == channels
                    assert await client.pubsub_channels() == []

            written, is_over = list[str](), asyncio.Event()
            async with beside(_write(redis, written, is_over)) as [writing]:
                await _more(written)
                await cluster.begin_move(slot, source, target)
                await redis.set(NAMES.leader, b"a key that was not there before")
                await _more(written)
                await cluster.move_keys(slot, source, target)
                await _more(written)
                assert await redis.publish(NAMES.events, b"still here") == 1
                assert await _next(channel) == b"still here"
                await cluster.end_move(slot, target)
                await _more(written)
                is_over.set()
                await asyncio.wait_for(writing, PATIENCE_S)
            with pytest.raises(RedisError, match="another node"):
                await _next(channel)
            rows: Any = await redis.xrange(NAMES.commands)
            assert [fields[b"n"].decode() for _, fields in rows] == written
            assert await redis.get(NAMES.leader) == b"a key that was not there before"
            assert await cluster.owner(NAMES) is target
            async with redis.pubsub(ignore_subscribe_messages=True) as again:
                await again.subscribe(NAMES.events)
                await _listened_to(target, NAMES.events)
                assert await redis.publish(NAMES.events, b"and here") == 1
                assert await _next(again) == b"and here"


async def test_a_replica_takes_the_place_of_a_node_that_is_killed_and_is_found(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        killed = await cluster.owner(NAMES)
        replica = await started_node(tmp_path / "replica", cluster_program())
        try:
            await cluster.add_replica(replica, killed)
            async with connected(cluster.url, NAMES) as redis, connected(cluster.url, ELSEWHERE) as elsewhere:
                assert await cluster.owner(ELSEWHERE) is not killed
                await redis.set(NAMES.leader, b"1")
                async with killed.client() as client:
                    assert await client.wait(1, int(PATIENCE_S * 1_000)) == 1  # the replica has it
                killed.kill()
                async with replica.client() as client:
                    await client.execute_command("CLUSTER FAILOVER", "TAKEOVER")
                await _until_it_does(redis, NAMES, b"2")
                assert await redis.getset(NAMES.leader, b"3") == b"2"
                assert await elsewhere.ping()
                cluster.nodes.remove(killed)
                assert await cluster.owner(NAMES) is replica
        finally:
            replica.kill()


async def test_without_a_node_that_answers_every_call_fails_at_once() -> None:
    async with connected(f"redis+cluster://{NOBODY}", NAMES) as redis:
        with pytest.raises(RedisError, match=f"where slot {slot_of(NAMES)} is"):
            await redis.get(NAMES.leader)
        with pytest.raises(RedisError, match=f"where slot {slot_of(NAMES)} is"):
            await redis.pubsub().subscribe(NAMES.events)


def _patient(url: str) -> Redis:
    """Return a client that calls once, and for which no machine is too busy."""
    return client_of(url, NAMES, timeout_s=PATIENCE_S, retry=Retry(NoBackoff(), 0))


async def _write(redis: Any, written: list[str], is_over: asyncio.Event) -> None:
    """Write one after the other; any failure ends it."""
    while not is_over.is_set():
        await redis.xadd(NAMES.commands, {"n": str(len(written))})
        written.append(str(len(written)))


async def _more(written: list[str]) -> None:
    wanted = len(written) + WRITES
    async with asyncio.timeout(PATIENCE_S):
        while len(written) < wanted:
            await asyncio.sleep(0.001)


async def _next(channel: Any) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        while (message := await channel.get_message(timeout=1.0)) is None:
            pass
    data: bytes = message["data"]
    return data


async def _listened_to(node: Node, name: str) -> None:
    async with node.client() as client, asyncio.timeout(PATIENCE_S):
        while dict(await client.pubsub_shardnumsub(name)).get(name) != 1:
            await asyncio.sleep(0.005)


async def _until_it_does(redis: Any, names: Names, value: bytes) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await redis.set(names.leader, value)
                return
            except TROUBLE:
                await asyncio.sleep(0.02)
