"""How far streams of commands were consumed, on the real tables: with the batch, alone, fenced, and back at a start."""

import asyncpg
import pytest

from market.settlement.writer import COMMIT_CONSUMED, FENCED
from tests.integration.settlement.recording import LEDGER, opened, traded_market


async def test_positions_are_durable_with_the_batch_and_known_after_a_restart(database: str) -> None:
    market = traded_market()
    async with opened(database) as store:
        entries = market.take()
        await store.commit(entries[:3], {"commands": "1-0/2"})
        await store.commit(entries[3:], {"commands": "1-0/7", "other": "5-0/0"})
        assert store.consumed == {}  # as of the last recover
    async with opened(database) as store:
        venue = await store.recover()
        assert venue.state_hash() == market.venue.state_hash()
        assert store.consumed == {"commands": "1-0/7", "other": "5-0/0"}


async def test_a_batch_of_refusals_moves_the_position_alone(database: str) -> None:
    market = traded_market()
    async with opened(database) as store:
        await store.commit(market.take(), {"commands": "1-0/0"})
        await store.commit([], {"commands": "1-0/1"})
        await store.recover()
        assert store.consumed == {"commands": "1-0/1"}
        market.investor("C", cash=7_00)
        await store.commit(market.take(), {"commands": "1-0/2"})  # the log goes on as if nothing had been between


@pytest.mark.parametrize(("epoch_off", "seq_off"), [(-1, 0), (1, 0), (0, -1), (0, 1)])
async def test_an_engine_without_the_lease_moves_no_position(database: str, epoch_off: int, seq_off: int) -> None:
    async with opened(database) as store:
        entries = traded_market().take()
        await store.commit(entries)
        connection = await asyncpg.connect(database, server_settings=LEDGER)
        try:
            await connection.execute("SET ROLE debt_market_engine")
            lease = (store.epoch + epoch_off, entries[-1].seq + seq_off)
            with pytest.raises(asyncpg.PostgresError) as refusal:
                await connection.execute(COMMIT_CONSUMED, *lease, ["commands"], ["9-0/0"])
            assert refusal.value.sqlstate == FENCED
        finally:
            await connection.close()
        await store.recover()
        assert store.consumed == {}
