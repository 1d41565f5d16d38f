"""The copy that a standby keeps warm is what a rebuild from the tables would be, after each commit and when taken."""

import asyncio
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from market.errors import InvariantViolation, MarketError
from market.events import BookChanged, OpenOrder, OrderAccepted
from market.orderbook.order import Side
from market.settlement.recovery import recover
from market.settlement.warm import BY_ACCOUNT, BY_EXECUTIONS, WarmCopy
from market.venue import restoring
from market.venue.venue import Venue
from tests.integration.settlement.recording import LEDGER, RecordedWorld, RecordingMarket, batches, execute, opened
from tests.patience import PATIENCE_S

FOLLOWED = BY_EXECUTIONS | BY_ACCOUNT


async def rebuilt(connection: asyncpg.Connection) -> Venue:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await recover(connection)


def listed(venue: Venue) -> dict[str, Any]:
    """What a state hash does not see: in which order things are listed and queue."""
    state = venue.state
    kept = (OpenOrder, OrderAccepted, BookChanged)
    return {
        "told": [event for event in venue.snapshot() if isinstance(event, kept)],
        "orders": list(state.orders),
        "accounts": {account_id: list(account.orders) for account_id, account in state.accounts.items()},
        "queues": {
            loan_id: [order.order_id for side in Side for order in loan.book.orders(side)]
            for loan_id, loan in state.loans.items()
        },
        "expiries": list(state.expiries),
    }


def trade_on(world: RecordedWorld, commands: int) -> None:
    """Let only what can be followed happen."""
    for _ in range(commands):
        with suppress(MarketError):
            command = world.command()
            while type(command).__name__ not in FOLLOWED:
                command = world.command()
            world.market.do(command)


@pytest.mark.parametrize("seed", range(4))
async def test_the_copy_is_what_a_rebuild_would_be_after_every_commit(database: str, seed: int) -> None:
    world, copy, read_anew = RecordedWorld(seed=seed, commands=300), WarmCopy(), []
    async with opened(database) as store:
        connection = await asyncpg.connect(database, server_settings=LEDGER)
        for _ in range(8):
            for batch in batches(world.recording.take(), seed):
                await store.commit(batch)
                read_anew.append(await copy.catch_up(connection))
            fresh, kept = await rebuilt(connection), copy._venue
            assert kept is not None
            assert kept.state_hash() == fresh.state_hash()
            assert listed(kept) == listed(fresh)
            kept.state.check_invariants()
            trade_on(world, 120)
        await connection.close()
    assert any(read_anew)
    assert not any(read_anew[-10:])  # trading alone is followed


async def test_an_engine_that_takes_over_goes_on_from_the_copy(database: str) -> None:
    """Also over what was committed after the copy looked last, and with equal answers from then on."""
    world = RecordedWorld(seed=9, commands=400)
    copy = WarmCopy()
    async with opened(database) as store:
        connection = await asyncpg.connect(database, server_settings=LEDGER)
        for batch in batches(world.recording.take(), 1):
            await store.commit(batch)
        await copy.catch_up(connection)
        trade_on(world, 100)
        for batch in batches(world.recording.take(), 2):
            await store.commit(batch)
        behind, warm_venue = copy.seq, copy._venue
    assert behind is not None
    async with opened(database, warm=copy) as store:
        taken = await store.recover()
        assert taken is warm_venue
        assert taken.seq > behind
        assert taken.state_hash() == (await rebuilt(connection)).state_hash()
        assert (await store.recover()) is not taken  # once: after a failure the tables are read
    await connection.close()


async def test_a_copy_whose_sums_are_not_those_of_the_tables_is_not_used(database: str) -> None:
    market = RecordingMarket()
    market.investor("A", cash=5_000_00)
    copy = WarmCopy()
    async with opened(database) as store:
        await store.commit(market.take())
        connection = await asyncpg.connect(database, server_settings=LEDGER)
        await copy.catch_up(connection)
        await connection.close()
    unguarded = "SET session_replication_role = replica"
    await execute(database, unguarded, "UPDATE market.cash_balance SET total = total + 1 WHERE account_id = 'A'")
    wrong = copy._venue
    async with opened(database, warm=copy) as store:
        assert (await store.recover()) is not wrong


async def test_a_copy_that_could_be_moved_on_only_in_part_is_no_copy(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise InvariantViolation("half of it")

    world, copy = RecordedWorld(seed=1, commands=100), WarmCopy()
    async with opened(database) as store:
        connection = await asyncpg.connect(database, server_settings=LEDGER)
        await store.commit(world.recording.take())
        assert await copy.catch_up(connection)
        trade_on(world, 50)
        await store.commit(world.recording.take())
        with monkeypatch.context() as broken:
            broken.setattr(restoring, "move_on", fail)
            with pytest.raises(InvariantViolation):
                await copy.catch_up(connection)
        assert copy.seq is None
        assert await copy.catch_up(connection), "all is read anew"
        assert copy.seq == world.market.venue.seq
        await connection.close()


async def test_a_copy_that_is_still_being_read_holds_up_no_takeover(database: str) -> None:
    """Here its server accepts and says nothing."""
    market = RecordingMarket()
    async with opened(database) as store:
        await store.commit(market.take())
    silent = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    copy = WarmCopy()
    following = asyncio.create_task(copy.follow(f"postgresql://nobody@127.0.0.1:{port}/none"))
    await asyncio.sleep(0)
    async with opened(database, warm=copy) as store:
        assert (await asyncio.wait_for(store.recover(), PATIENCE_S)).seq == market.venue.seq
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(following, PATIENCE_S)
    assert following.done()
    silent.close()


async def test_following_goes_on_after_a_cut(database: str) -> None:
    market, copy = RecordingMarket(), WarmCopy()
    async with opened(database) as store:
        await store.commit(market.take())
        following = asyncio.create_task(copy.follow(database))
        await _until(lambda: copy.seq == market.venue.seq)
        await execute(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'debt-market standby' AND datname = current_database()",
        )
        market.investor("A", cash=5_000_00)
        await store.commit(market.take())
        await _until(lambda: copy.seq == market.venue.seq)
        following.cancel()


async def _until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)
