"""A rolling restart under load, shortly; `./dev soak` has more rounds of it."""

from pathlib import Path

from tests.e2e.rolling import compared, roll
from tests.e2e.topology import topology
from tests.redis_server import RedisServer


async def test_every_process_is_replaced_under_load_and_nothing_acknowledged_is_lost(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with topology(tmp_path, database, redis_server) as market:
        told = await roll(market, rounds=1)
    await compared(database, told)
