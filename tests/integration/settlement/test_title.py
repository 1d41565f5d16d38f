"""The database writes the chains of title: in step with the postings, whatever the batches, and of what was before."""

import asyncpg
import pytest

from market.settlement.check import check
from market.settlement.migrate import available
from tests.builders import buy, sell
from tests.integration.settlement.recording import (
    RecordedWorld,
    RecordingMarket,
    batches,
    execute,
    fetchval,
    opened,
    traded_market,
)

LINKS = "SELECT array_agg((n, kind, trade_id, assignor, assignee, face, at) ORDER BY n) FROM market.assignment"
NUMBERS = "SELECT array_agg(n ORDER BY loan_id, n) FROM market.assignment"
BEGIN = 1_700_000_000_000_000_000
EXPECTED = [
    (1, "issuance", None, "ISSUE", "ORIG", 10_000_00, BEGIN + 4),
    (2, "trade", 1, "ORIG", "A", 1_000_00, BEGIN + 10),
]


async def test_the_issue_and_every_trade_is_a_link(database: str) -> None:
    market = traded_market()
    async with opened(database) as store:
        await store.commit(market.take())
    assert await fetchval(database, LINKS) == EXPECTED


async def test_many_trades_of_one_batch_follow_each_other(database: str) -> None:
    """Also those of one command, and of several loans at once."""
    market = RecordingMarket(loans=("L1", "L2"))
    market.investor("A", cash=9_000_00)
    for price in (97_00, 98_00, 99_00):
        market.do(sell("ORIG", price, 100_00))
        market.do(sell("ORIG", price, 100_00, loan_id="L2"))
    market.do(buy("A", 99_00, 300_00))
    market.do(buy("A", 99_00, 300_00, loan_id="L2"))
    async with opened(database) as store:
        await store.commit(market.take())
    assert await fetchval(database, NUMBERS) == [1, 2, 3, 4] * 2
    assert (await check(database)).ok


@pytest.mark.parametrize("seed", [3, 4])
async def test_chains_do_not_depend_on_how_the_log_was_cut_into_batches(database: str, seed: int) -> None:
    world = RecordedWorld(seed, commands=400)
    async with opened(database) as store:
        for batch in batches(world.recording.take(), seed):
            await store.commit(batch)
    assert await fetchval(database, "SELECT count(*) > 20 FROM market.assignment WHERE kind = 'trade'")
    assert (await check(database)).ok


async def test_what_was_there_before_gets_its_links(database: str) -> None:
    """The migration's own statement, on a ledger that was written without chains."""
    [migration] = [sql for name, sql in available().items() if name.endswith("_title")]
    fill = migration.partition("-- What moved before there were chains.")[2].partition(";")[0]
    await execute(database, "ALTER TABLE market.posting DISABLE TRIGGER titles_follow")
    async with opened(database) as store:
        await store.commit(traded_market().take())
    await execute(database, "ALTER TABLE market.posting ENABLE TRIGGER titles_follow")
    report = await check(database)
    assert [found.name for found in report.checks if not found.ok] == ["assignments_are_exactly_the_face_postings"]
    await execute(database, fill)
    assert (await check(database)).ok
    assert await fetchval(database, LINKS) == EXPECTED


async def test_a_pseudonym_is_of_one_account_in_one_loan(database: str) -> None:
    parties = await fetchval(
        database,
        "SELECT array_agg(market.title_party(loan_id, account_id)) "
        "FROM (VALUES ('L1', 'A'), ('L1', 'B'), ('L2', 'A'), ('L1', 'A')) who (loan_id, account_id)",
    )
    assert len(set(parties)) == 3
    assert parties[0] == parties[3]


async def test_no_role_reads_the_secret(database: str) -> None:
    for role in ("debt_market_engine", "debt_market_gateway"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await execute(database, f"SET ROLE {role}", "SELECT secret FROM market.title_secret")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await execute(database, "SET ROLE debt_market_engine", "SELECT market.title_opening('L1', 'A')")
