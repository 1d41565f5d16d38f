"""The documented way of a backup, run as it is written: dump, restore elsewhere, check, replay, go on trading."""

import asyncio
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import asyncpg

from gateway.client import ApiKey, Client
from market.engine import Engine
from market.settlement.catching_up import CatchUp
from market.settlement.check import check
from market.settlement.embedded import EmbeddedPostgres
from market.settlement.migrate import migrate
from market.settlement.receiving import Receiver
from market.settlement.replay import replay
from market.settlement.writer import PostgresStore
from tests.e2e.topology import Process, client, order, placed, prepare
from tests.integration.settlement.test_partitions import Ledgers
from tests.patience import PATIENCE_S
from tests.replica import base_backup, program, running_replica

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def commands(heading: str) -> str:
    """Return the first shell block below a heading of the page."""
    found = re.search(rf"^#+ {heading}$.*?```sh\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def run(script: str, folder: Path, **variables: str) -> str:
    """Run lines of the page, stopping at the first that fails. Returns what they print."""
    path = os.pathsep.join([str(Path(sys.executable).parent), str(Path(program("psql")).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | variables | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def served(folder: Path, name: str, dsn: str) -> Process:
    return Process("serve", name, folder, "--database-url", dsn, "--business-date", "2024-05-02")


async def trade(admin: Client, keys: dict[str, ApiKey], name: str) -> None:
    """Sell 3.00 and buy 1.00 of it."""
    async with Client(admin.url, keys["ORIG"]) as seller, Client(admin.url, keys["BUYER"]) as buyer:
        await placed(seller, order("sell", f"s-{name}", qty="3.00"))
        bought = await placed(buyer, order("buy", f"b-{name}", qty="1.00"))
        assert bought["order_status"] == "filled"


async def test_a_market_is_restored_from_a_dump_and_trades_on(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "old") as old:
        market = served(tmp_path, "before", old.dsn)
        async with client(await market.ready()) as admin:
            keys = await prepare(admin)
            await trade(admin, keys, "kept")
            epoch = (await admin.get("/v1/status"))["epoch"]
            run(commands("Backup and restore"), tmp_path, FROM=old.dsn)
            await trade(admin, keys, "lost")
        market.process.kill()
        await market.ends()
    with EmbeddedPostgres(tmp_path / "new") as new:
        told = run(commands("Restore"), tmp_path, TO=new.dsn)
        assert "the same state" in told
        market = served(tmp_path, "after", new.dsn)
        try:
            async with client(await market.ready()) as admin:
                assert (await admin.get("/v1/status"))["epoch"] > epoch
                async with Client(admin.url, keys["ORIG"]) as seller:
                    resting = await seller.get("/v1/orders", status="open")
                    assert [(each["cl_ord_id"], each["leaves_qty"]) for each in resting["items"]] == [
                        ("s-kept", "2.00")
                    ]
                await trade(admin, keys, "lost")  # the same ids: nothing is known of what came after the dump
                difference = [row["difference"] for row in (await admin.get("/v1/audit"))["cash"]]
                assert difference == ["0.00"]
        finally:
            market.process.terminate()
            await market.ends()
        assert (await check(new.dsn)).ok
        assert (await replay(new.dsn)).ok


async def test_the_dump_of_a_market_in_partitions_has_each_ledger_as_of_the_same_moment(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "old") as old:
        await migrate(old.dsn, partitions=3)
        await Ledgers().commit(old.dsn)  # leaves cash on the way to the third
        run(commands("Backup and restore"), tmp_path, FROM=old.dsn)
    with EmbeddedPostgres(tmp_path / "new") as new:
        told = run(commands("Restore"), tmp_path, TO=new.dsn)
        assert "the same state" in told
        assert "ok    market_2.cash_lines_equal_their_moves" in told
        engine = Engine(store=PostgresStore(new.dsn, partition=2), clock=time.time_ns)
        running = asyncio.create_task(engine.run())
        await engine.online()
        catch_up = CatchUp(new.dsn, engine, 2)
        await catch_up.begin()
        receiving = asyncio.create_task(Receiver(new.dsn, engine, 2).run())
        await until(new.dsn, "SELECT sum(amount) = 500 FROM market_2.cash_receipt")
        receiving.cancel()
        engine.stop()
        await running
        assert (await check(new.dsn)).ok


async def test_a_base_backup_is_a_market_by_itself(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "first") as first:
        market = served(tmp_path, "market", first.dsn)
        async with client(await market.ready()) as admin:
            await trade(admin, await prepare(admin), "one")
            base_backup(first.dsn, tmp_path / "copy")
        market.process.terminate()
        await market.ends()
    with EmbeddedPostgres(tmp_path / "copy") as copy:
        assert (await check(copy.dsn)).ok
        assert (await replay(copy.dsn)).ok


async def test_a_copy_that_follows_takes_the_place_of_the_first_server(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "first") as first, running_replica(first.dsn, tmp_path / "copy") as copy:
        market = served(tmp_path, "market", first.dsn)
        async with client(await market.ready()) as admin:
            keys = await prepare(admin)
            await trade(admin, keys, "one")
            seq = (await admin.get("/v1/status"))["engine_seq"]
        await caught_up(copy, seq)
        market.process.kill()
        await market.ends()
        first.stop()
        connection = await asyncpg.connect(copy)
        try:
            assert await connection.fetchval("SELECT pg_promote()")
        finally:
            await connection.close()
        market = served(tmp_path, "promoted", copy)
        try:
            async with client(await market.ready()) as admin:
                await trade(admin, keys, "two")
        finally:
            market.process.terminate()
            await market.ends()
        assert (await check(copy)).ok


async def caught_up(copy: str, seq: int) -> None:
    await until(copy, f"SELECT max(seq) = {seq} FROM market.command_log")


async def until(dsn: str, question: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await connection.fetchval(question):
                await asyncio.sleep(0.05)
    finally:
        await connection.close()
