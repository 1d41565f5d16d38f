"""A market cut in two on a real Redis Cluster: what a partition says is of one node, and may go to another one."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from gateway.client import ApiKey, Client, MarketClient
from market.bus.names import Names
from tests.e2e.test_partitions import HERE, THERE, cut_in_two, ledgers_agree, pages, sums_up, until
from tests.e2e.topology import order, placed
from tests.patience import PATIENCE_S
from tests.redis_cluster import Node, RedisCluster, running_cluster, slot_of

OURS = [Names(partition=k) for k in range(2)]
SIDES = {"sell": "ORIG", "buy": "BUYER"}
STEP = 5  # orders of each side on each loan


async def test_a_slot_moves_and_nodes_die_under_trading_and_each_partition_goes_on_by_itself(
    tmp_path: Path, database: str
) -> None:
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running_cluster(tmp_path))
        market = cut_in_two(tmp_path, database, cluster, "--resolve-timeout-s", "2")
        _, engines, admin, keys = await stack.enter_async_context(market)
        here, there, target = await _nodes(cluster)
        seller = await stack.enter_async_context(Client(admin.url, keys["ORIG"]))
        await _traffic_is_of_its_node(seller, here, there, target)

        told: dict[str, str] = {}
        async with _trading(admin.url, keys, told) as more:
            await more()
            await cluster.begin_move(slot_of(OURS[1]), there, target)
            await more()
            await cluster.move_keys(slot_of(OURS[1]), there, target)
            await more()
            await cluster.end_move(slot_of(OURS[1]), target)
            await more()
        assert len(set(told.values())) == len(told)
        assert await _listened_to(target) == {OURS[1].events}
        for account, side in (("ORIG", "sell"), ("BUYER", "buy")):
            async with Client(admin.url, keys[account]) as client:
                mine = {each["cl_ord_id"] for each in await pages(client, "/v1/orders?status=all&limit=500")}
            assert mine - {"first"} == {name for name in told if name.startswith(side)}

        trader = await stack.enter_async_context(MarketClient(admin.url, keys["ORIG"]))
        target.kill()
        await until(lambda: admin.get("/readyz"), lambda ready: ready["partitions"] == ["online", "recovering"])
        await placed(seller, order("sell", "while-the-other-is-away", "1.00", "99.00", loan_id=HERE))
        target.start()
        await placed(seller, order("sell", "when-it-is-back", "1.00", "99.00", loan_id=THERE))
        here.kill()  # it has the signatures, too: who is signed in needs none
        await trader.add_order(
            symbol=f"{THERE}/CNY", side="sell", order_type="limit", limit_price="99.00", order_qty="1.00",
            cl_ord_id="while-the-first-is-away",
        )  # fmt: skip
        here.start()
        await placed(seller, order("sell", "when-the-first-is-back", "1.00", "99.00", loan_id=HERE))
        assert [engine.process.poll() for engine in engines] == [None, None]
        for loan_id in (HERE, THERE):
            await until(partial(admin.get, f"/v1/loans/{loan_id}/book"), _ends_at_99)
        await sums_up(admin)
    await ledgers_agree(database)


async def _traffic_is_of_its_node(seller: Client, here: Node, there: Node, idle: Node) -> None:
    """An order on a loan of one partition is no matter of the other's node, nor is what is told of it."""
    assert [await _listened_to(node) for node in (here, there, idle)] == [{OURS[0].events}, {OURS[1].events}, set()]
    before = [await _calls(node) for node in (here, there, idle)]
    await placed(seller, order("sell", "first", "1.00", loan_id=HERE))
    after = [await _calls(node) for node in (here, there, idle)]
    orders = [now["xadd"] - was["xadd"] for was, now in zip(before, after, strict=True)]
    assert orders[0] >= 1
    assert orders[1:] == [0, 0]
    assert after[1]["spublish"] > 0, "its own engine's signs of life"
    assert after[2]["xadd"] == after[2]["spublish"] == 0
    assert [each["publish"] for each in after] == [0, 0, 0]


@asynccontextmanager
async def _trading(
    url: str, keys: dict[str, ApiKey], told: dict[str, str]
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Buy and sell on both loans; told: order ids by client order id. Yields what waits until all have gone on."""
    is_over, counts = asyncio.Event(), Counter[tuple[str, str]]()

    async def load(side: str, account: str, loan_id: str) -> None:
        async with Client(url, keys[account]) as client:
            while not is_over.is_set():
                name = f"{side}-{loan_id}-{counts[side, loan_id]}"
                told[name] = (await placed(client, order(side, name, "1.00", loan_id=loan_id)))["order_id"]
                counts[side, loan_id] += 1

    async def more() -> None:
        wanted = {(side, loan_id): counts[side, loan_id] + STEP for side in SIDES for loan_id in (HERE, THERE)}
        async with asyncio.timeout(PATIENCE_S):
            while any(counts[each] < number for each, number in wanted.items()):
                await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as loads:
        for side, account in SIDES.items():
            for loan_id in (HERE, THERE):
                loads.create_task(load(side, account, loan_id))
        yield more
        is_over.set()


def _ends_at_99(book: dict[str, Any]) -> bool:
    """Whether the book has what was offered while nodes were away."""
    return bool(book["asks"]) and book["asks"][-1] == {"price": "99.00", "qty": "2.00"}


async def _listened_to(node: Node) -> set[str]:
    """Return which partitions' commits are heard at a node. None may be told as in a Redis that is alone."""
    async with node.client() as redis:
        assert await redis.pubsub_channels() == []
        return {each.events for each in OURS} & set(await redis.pubsub_shardchannels())


async def _nodes(cluster: RedisCluster) -> tuple[Node, Node, Node]:
    """Return the node of each partition, and one that has neither."""
    here, there = [await cluster.owner(names) for names in OURS]
    [idle] = [node for node in cluster.nodes if node not in (here, there)]
    return here, there, idle


async def _calls(node: Node) -> Counter[str]:
    """Return how often a node was called by each command."""
    async with node.client() as redis:
        told = await redis.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): each["calls"] for name, each in told.items()})
