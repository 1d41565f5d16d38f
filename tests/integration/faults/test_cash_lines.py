"""Cash between the ledgers of two partitions while either engine is killed: nothing is lost, made up or moved twice."""

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from market.settlement.check import check
from market.settlement.migrate import migrate
from market.settlement.replay import replay_all
from tests.integration.faults.ledger_worker import ACCOUNTS, PAID_IN
from tests.integration.settlement.recording import fetchval
from tests.patience import PATIENCE_S, until

KILLS = 6
ENDLESS = 1_000_000

TOTAL = "SELECT sum(total)::bigint FROM {}.cash_balance WHERE account_id <> 'CUSTODY'"
ON_THE_WAY = """
    SELECT coalesce(sum(m.amount), 0)::bigint FROM {0}.cash_move m WHERE NOT EXISTS (
        SELECT FROM {1}.cash_receipt r WHERE r.move_id = m.move_id AND r.sender = {2})
"""


class Worker:
    """The engine of one partition; what it was told is kept over its deaths."""

    def __init__(self, dsn: str, partition: int) -> None:
        self._dsn, self._partition, self._seed = dsn, partition, 0
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._is_serving = False
        self.sent: list[str] = []

    async def start(self, sends: int = ENDLESS) -> None:
        self._seed, self._is_serving = self._seed + 1, False
        command = [sys.executable, "-m", "tests.integration.faults.ledger_worker", self._dsn]
        self._process = await asyncio.create_subprocess_exec(
            *command, str(self._partition), str(self._seed), str(sends), stdout=subprocess.PIPE
        )
        self._reading = asyncio.create_task(self._read(self._process))
        await until(lambda: self._is_serving, f"partition {self._partition} serves")

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            kind, *words = line.decode().split()
            self._is_serving |= kind == "I"
            self.sent += words


async def on_the_way(dsn: str) -> int:
    there: int = await fetchval(dsn, ON_THE_WAY.format("market", "market_1", 0))
    back: int = await fetchval(dsn, ON_THE_WAY.format("market_1", "market", 1))
    return there + back


async def all_arrived(dsn: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await on_the_way(dsn):
            await asyncio.sleep(0.02)


async def verify(dsn: str) -> None:
    report = await check(dsn)
    assert report.ok, [found for found in report.checks if not found.ok]
    in_all = sum([await fetchval(dsn, TOTAL.format(schema)) or 0 for schema in ("market", "market_1")])
    assert in_all == len(ACCOUNTS) * PAID_IN


@pytest.fixture
async def cut(database: str) -> str:
    await migrate(database, partitions=2)
    return database


@pytest.fixture
async def workers(cut: str) -> AsyncIterator[list[Worker]]:
    both = [Worker(cut, partition) for partition in (0, 1)]
    yield both
    for worker in both:
        await worker.kill()


async def test_what_was_sent_arrives_though_its_sender_is_dead_and_its_receiver_was(
    cut: str, workers: list[Worker]
) -> None:
    first, second = workers
    await first.start(sends=20)
    await until(lambda: len(first.sent) >= 5, "the first partition has sent")
    await first.kill()
    sent = await on_the_way(cut)
    assert sent > 0
    await second.start(sends=0)
    await all_arrived(cut)
    await second.kill()
    assert (
        await fetchval(cut, "SELECT sum(moved)::bigint FROM market_1.cash_line WHERE account_id <> '/TRANSIT'") == sent
    )
    await second.start(sends=0)  # it reads all of it once more
    await first.start(sends=0)
    await all_arrived(cut)
    await verify(cut)
    for moves in ("market.cash_move", "market_1.cash_receipt"):
        assert set(first.sent) <= set(await fetchval(cut, f"SELECT array_agg(move_id) FROM {moves}"))


async def test_either_engine_may_be_killed_at_any_moment(cut: str, workers: list[Worker]) -> None:
    rng = random.Random(7)
    await workers[0].start()
    await workers[1].start()
    for victim in victims(rng):
        worker = workers[victim]
        before, wanted = len(worker.sent), rng.randint(1, 60)
        await until(lambda w=worker, n=before + wanted: len(w.sent) >= n, "cash moves both ways")  # type: ignore[misc]
        await worker.kill()
        await verify(cut)  # while the other one goes on
        await worker.start()
    for worker in workers:
        await worker.kill()
    for worker in workers:
        await worker.start(sends=0)
    await all_arrived(cut)
    await verify(cut)
    for partition, worker in enumerate(workers):
        sender, receiver = [("market", "market_1"), ("market_1", "market")][partition]
        there = await fetchval(cut, f"SELECT array_agg(move_id) FROM {sender}.cash_move")
        assert len(worker.sent) == len(set(worker.sent)) > 20
        assert set(worker.sent) <= set(there), "what was told is durable"
        assert sorted(there) == sorted(await fetchval(cut, f"SELECT array_agg(move_id) FROM {receiver}.cash_receipt"))
    for worker in workers:
        await worker.kill()
    assert all(report.ok for report in await replay_all(cut))


def victims(rng: random.Random) -> Iterator[int]:
    for kill in range(KILLS):
        yield kill % 2 if kill < 2 else rng.randrange(2)
