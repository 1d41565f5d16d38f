"""A market that is cut into partitions is run by processes that know it, and by no others."""

from pathlib import Path

from tests.e2e.topology import topology
from tests.redis_server import RedisServer


async def test_a_process_that_knows_of_fewer_partitions_does_not_start(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with (
        topology(tmp_path, database, redis_server, partitions=2) as cut,
        topology(tmp_path, database, redis_server) as whole,
    ):
        for partition in (0, 1):
            await cut.start("engine", f"engine-{partition}", partition=partition).says("engine_online")
        gateway = whole.start("gateway", "gateway")
        assert await gateway.ends() == 1
        assert "the market is cut into 2 partitions, not into 1" in gateway.log.read_text()
        engine = whole.start("engine", "engine")
        assert await engine.ends() == 1
        assert "the market is cut into 2 partitions: there can't be 1" in engine.log.read_text()
        async with await cut.gateway("of-both") as admin:
            assert (await admin.get("/readyz"))["partitions"] == ["online", "online"]


async def test_a_market_that_runs_is_cut_without_a_stop(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with (
        topology(tmp_path, database, redis_server) as whole,
        topology(tmp_path, database, redis_server, partitions=2) as cut,
    ):
        old = whole.start("engine", "old")
        await old.says("engine_online")
        await cut.start("engine", "second", partition=1).says("caught_up command=OpenMarket")
        new = cut.start("standby", "new", partition=0)
        await new.says("standing_by")
        old.process.terminate()
        assert await old.ends() == 0
        await new.says("engine_online")
        async with await cut.gateway("of-both") as admin:
            assert (await admin.get("/readyz"))["partitions"] == ["online", "online"]
