"""Lots in the tables: what the writer keeps, and what the migration makes of a market from before there were any."""

import random
from datetime import timedelta

import asyncpg
import pytest

from market.commands import IssueFace, RollDay
from market.ids import Face, LoanId
from market.settlement.check import check
from market.settlement.migrate import available
from market.settlement.replay import replay
from tests.builders import buy, register, sell
from tests.integration.settlement.recording import RecordingMarket, batches, execute, opened

LOTS = "SELECT account_id, loan_id, faces, acquired, transfers FROM market.lots ORDER BY 1, 2"
UNGUARDED = "SET session_replication_role = replica"


async def lots_of(dsn: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(LOTS)]
    finally:
        await connection.close()


def traded_for_weeks(seed: int) -> RecordingMarket:
    rng, market = random.Random(seed), RecordingMarket(loans=())
    for loan_id in ("L1", "L2"):
        market.do(register(loan_id, issued=8_000_00))
    names = ["A", "B", "C"]
    for name in names:
        market.investor(name, cash=90_000_00)
    for _ in range(200):
        loan_id, state = LoanId(rng.choice(["L1", "L2"])), market.venue.state
        seller = rng.choice(["ORIG", *names])
        face = min(state.accounts[seller].available_face(loan_id), rng.randint(1_00, 900_00))  # type: ignore[index]
        if face >= 1_00:
            market.do(sell(seller, 9_800, face, loan_id=loan_id))
            market.do(buy(rng.choice([name for name in names if name != seller]), 9_800, face, loan_id=loan_id))
        if rng.random() < 0.1:
            market.do(RollDay(to=state.today + timedelta(days=rng.randint(1, 3))))
        if rng.random() < 0.05:
            market.do(IssueFace(loan_id=loan_id, face=Face(50_00)))
    return market


@pytest.mark.parametrize("seed", range(3))
async def test_the_migration_makes_the_lots_that_trading_made(database: str, seed: int) -> None:
    market = traded_for_weeks(seed)
    async with opened(database) as store:
        for batch in batches(market.take(), seed=seed):
            await store.commit(batch)
    written = await lots_of(database)
    assert max(len(row[2]) for row in written) > 5, "few lots show little"  # type: ignore[arg-type]
    migration = next(sql for name, sql in available().items() if name.endswith("_lots"))
    back_fill = migration[migration.index("DO $$") : migration.index("UPDATE market.loan SET rulebook")]
    await execute(database, UNGUARDED, "TRUNCATE market.lots", back_fill)
    assert await lots_of(database) == written
    assert (await check(database)).ok
    assert (await replay(database)).ok
