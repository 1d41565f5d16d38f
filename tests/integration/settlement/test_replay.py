"""The log alone makes the state that the tables hold, in any process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from market.settlement.replay import ReplayFailed, replay
from tests.integration.settlement.recording import RecordedWorld, batches, execute, opened, traded_market

ROOT = Path(__file__).resolve().parents[3]
REPLAY = """
import asyncio, sys
from market.settlement.replay import replay
print(asyncio.run(replay(sys.argv[1])).state_hash_log.hex())
"""


async def test_the_log_makes_what_the_tables_hold(database: str) -> None:
    world = RecordedWorld(seed=5, commands=0)
    for epoch in range(4):
        world.go_on(250)
        async with opened(database) as store:
            for batch in batches(world.recording.take(), seed=epoch):
                await store.commit(batch)
        assert any(account.quotes for account in world.market.venue.state.accounts.values())
        world.market.venue.drop_quotes()  # the next engine takes another epoch, and finds none
    progress: list[tuple[int, int]] = []
    report = await replay(database, lambda done, lines: progress.append((done, lines)))
    assert report.ok
    assert report.state_hash_log == world.market.venue.state_hash()
    assert report.seq == world.market.venue.seq
    assert progress[-1] == (report.seq, report.seq)


async def test_no_hash_seed_changes_the_state_hash(database: str) -> None:
    async with opened(database) as store:
        market = traded_market()
        await store.commit(market.take())
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", REPLAY, database],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == market.venue.state_hash().hex()


async def test_an_empty_log_replays(database: str) -> None:
    report = await replay(database)
    assert report.ok
    assert report.seq == 0


async def test_a_changed_balance_is_a_different_state(database: str) -> None:
    async with opened(database) as store:
        await store.commit(traded_market().take())
    unguarded = "SET session_replication_role = replica"
    await execute(database, unguarded, "UPDATE market.cash_balance SET total = total + 1 WHERE account_id = 'A'")
    assert not (await replay(database)).ok


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param("DELETE FROM market.command_log WHERE seq = 3", "follows line 2", id="a missing line"),
        pytest.param("UPDATE market.command_log SET kind = 'Magic' WHERE seq = 3", "unknown kind", id="unknown kind"),
        pytest.param("UPDATE market.command_log SET body = '{}' WHERE seq = 3", "ValidationError", id="unreadable"),
        pytest.param(
            "UPDATE market.command_log l SET kind = p.kind, body = p.body FROM market.command_log p "
            "WHERE l.seq = 3 AND p.seq = 2",
            "changes nothing",
            id="a repeat",
        ),
        pytest.param(
            """UPDATE market.command_log SET kind = 'IssueFace', body = '{"loan_id":"none","face":1}' WHERE seq = 3""",
            "UnknownLoan",
            id="a refusal",
        ),
    ],
)
async def test_a_log_that_can_not_be_is_named(database: str, change: str, message: str) -> None:
    async with opened(database) as store:
        await store.commit(traded_market().take())
    await execute(database, "SET session_replication_role = replica", change)
    with pytest.raises(ReplayFailed, match=message):
        await replay(database)
