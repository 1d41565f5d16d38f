"""The writer on a real server: all or nothing, one writer, and the right word for every way to fail."""

import asyncio
import contextlib
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from market.commands import Withdraw
from market.engine import Doubtful, LeaseLost, NotCommitted
from market.errors import InvariantViolation
from market.events import CashChanged, ClaimChanged, LoanChanged
from market.ids import Face
from market.settlement.check import check
from market.settlement.writer import PostgresStore
from tests.builders import deposit, open_account
from tests.integration.settlement.recording import (
    RecordedWorld,
    RecordingMarket,
    batches,
    execute,
    fetchval,
    opened,
    traded_market,
)


@pytest.mark.parametrize("seed", range(3))
async def test_what_was_committed_in_any_batches_is_recovered_whole(database: str, seed: int) -> None:
    world = RecordedWorld(seed, commands=700)
    async with opened(database) as store:
        for batch in batches(world.recording.take(), seed):
            await store.commit(batch)
        venue = await store.recover()
    venue.state.check_invariants()
    world.market.venue.drop_quotes()  # they are in no table
    assert venue.seq == world.market.venue.seq
    assert venue.state_hash() == world.market.venue.state_hash(), f"seed {seed}"
    assert set(venue.snapshot()) == set(world.market.venue.snapshot())
    report = await check(database)
    assert report.ok, report


async def test_a_new_engine_goes_on_where_the_last_one_stopped(database: str) -> None:
    market = traded_market()
    async with opened(database) as store:
        await store.commit(market.take())
        first_epoch = store.epoch
    market.investor("C", cash=7_00)
    async with opened(database) as store:
        assert store.epoch > first_epoch
        assert (await store.recover()).seq == market.entries[0].seq - 1
        await store.commit(market.take())
        assert (await store.recover()).state_hash() == market.venue.state_hash()
    assert (await check(database)).ok


async def test_a_batch_is_one_transaction(database: str) -> None:
    market = traded_market()
    entries = market.take()
    async with opened(database) as store:
        first = next(i for i, entry in enumerate(entries) if isinstance(entry.command, Withdraw))
        await store.commit(entries[:first])
        broken = replace(entries[-1], events=(*entries[-1].events, *entries[first].events))  # one reference twice
        with pytest.raises(NotCommitted, match="custody_movement_pkey") as refusal:
            await store.commit([*entries[first:-1], broken])
        assert refusal.value.permanent
        assert (await store.recover()).seq == entries[first - 1].seq
        await store.commit(entries[first:])  # the session and the lease are as they were
        assert (await store.recover()).state_hash() == market.venue.state_hash()


async def test_a_batch_must_follow_the_last_one(database: str) -> None:
    entries = traded_market().take()
    async with opened(database) as store:
        with pytest.raises(InvariantViolation):
            await store.commit(entries[1:])
        with pytest.raises(InvariantViolation):
            await store.commit([entries[0], entries[2]])
        await store.commit([])
        await store.commit(entries)
        with pytest.raises(InvariantViolation):
            await store.commit(entries)


def one_more(balance: Any) -> Any:
    return replace(balance, total=balance.total + 1)


async def test_memory_that_disagrees_with_the_postings_is_refused(database: str) -> None:
    entries = traded_market().take()
    async with opened(database) as store:
        for kind, constraint in ((CashChanged, "cash_is_what_memory_says"), (ClaimChanged, "face_is_what_memory_says")):
            wrong = [
                replace(entry, events=tuple(one_more(e) if type(e) is kind else e for e in entry.events))
                for entry in entries
            ]
            with pytest.raises(NotCommitted, match=constraint):
                await store.commit(wrong)


async def test_what_is_found_wrong_only_at_the_end_of_the_transaction_is_refused_too(database: str) -> None:
    """Deferred constraints speak after the statement's own answer, at its COMMIT."""
    market = RecordingMarket()
    entries = market.take()
    register = entries[-1]
    events = tuple(replace(e, issued=Face(e.issued - 1)) if isinstance(e, LoanChanged) else e for e in register.events)
    async with opened(database) as store:
        await store.commit(entries[:-1])
        with pytest.raises(NotCommitted, match="positions_equal_issued_face") as refusal:
            await store.commit([replace(register, events=events)])
        assert refusal.value.permanent
        assert (await store.recover()).seq == entries[-2].seq


@pytest.mark.parametrize(
    "text",
    [pytest.param("\ud800", id="lone surrogate"), pytest.param("a\0b", id="NUL")],
)
async def test_text_that_no_database_holds_is_refused_for_good(database: str, text: str) -> None:
    market = RecordingMarket()
    market.do(open_account("A", name=text))
    entries = market.take()
    async with opened(database) as store:
        await store.commit(entries[:-1])
        with pytest.raises(NotCommitted) as refusal:
            await store.commit(entries[-1:])
        assert refusal.value.permanent
        await store.quarantine(entries[-1], str(refusal.value))
        assert await fetchval(database, "SELECT count(*) FROM market.quarantine WHERE seq = $1", entries[-1].seq) == 1


async def test_an_amount_that_no_column_holds_is_refused_for_good(database: str) -> None:
    market = RecordingMarket()
    market.investor("A")
    market.do(deposit("A", 1 << 70))
    async with opened(database) as store:
        with pytest.raises(NotCommitted) as refusal:
            await store.commit(market.take())
        assert refusal.value.permanent
        assert (await store.recover()).seq == 0


async def test_of_two_stores_on_one_database_exactly_one_writes(database: str) -> None:
    entries = traded_market().take()
    stores = [PostgresStore(database, holder=f"engine {i}", wait_s=0.2) for i in range(2)]
    opening = await asyncio.gather(*(store.open() for store in stores), return_exceptions=True)
    outcomes = [type(outcome) for outcome in opening]
    assert outcomes.count(LeaseLost) == 1
    winner = stores[outcomes.index(type(None))]
    with pytest.raises(LeaseLost, match=f"engine {stores.index(winner)}"):
        await PostgresStore(database, holder="third", wait_s=0.1).open()
    await winner.commit(entries)
    for store in stores:
        await store.close()


async def test_a_takeover_ends_the_old_engine_and_its_late_work_is_refused(database: str) -> None:
    market = traded_market()
    entries = market.take()
    old, new = PostgresStore(database), PostgresStore(database, wait_s=0.1, takeover=True)
    await old.open()
    await old.commit(entries[:3])
    await new.open()
    assert new.epoch > old.epoch
    with pytest.raises((Doubtful, LeaseLost)):
        await old.commit(entries[3:])
    with pytest.raises(LeaseLost):
        await old.resolve()
    assert (await new.recover()).seq == entries[2].seq
    await new.commit(entries[3:])
    await old.close()
    await new.close()
    assert (await check(database)).ok


async def test_a_zombie_with_a_living_session_is_fenced(database: str) -> None:
    """The lock does not protect: an old epoch that can still speak to the database must be refused by the fence."""
    entries = traded_market().take()
    async with opened(database) as store:
        await execute(database, "SELECT market.raise_epoch('another', false)")
        with pytest.raises(LeaseLost, match="another"):
            await store.commit(entries)
        with pytest.raises(LeaseLost):
            await store.resolve()
    assert await fetchval(database, "SELECT count(*) FROM market.command_log") == 0


async def test_a_sequence_that_moved_on_is_fenced(database: str) -> None:
    entries = traded_market().take()
    async with opened(database) as store:
        await execute(database, "UPDATE market.lease SET seq = 5")
        with pytest.raises(LeaseLost, match="at seq 5 is"):
            await store.commit(entries)


async def test_a_session_that_ends_in_the_middle_leaves_doubt_that_resolve_ends(database: str) -> None:
    """A lock holds the commit in its middle while its session is ended from outside."""
    market = traded_market()
    entries = market.take()
    async with opened(database) as store:
        await store.commit(entries[:3])
        blocker = await asyncpg.connect(database)
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE market.execution")
            committing = asyncio.ensure_future(store.commit(entries[3:]))
            await _until_waiting(blocker, store)
            await blocker.execute("SELECT pg_terminate_backend($1)", store._server_pid)
            with pytest.raises(Doubtful):
                await committing
        await blocker.close()
        epoch = store.epoch
        assert await store.resolve() == entries[2].seq
        assert store.epoch > epoch
        assert (await store.recover()).seq == entries[2].seq
        await store.commit(entries[3:])
        assert (await store.recover()).state_hash() == market.venue.state_hash()


async def test_a_statement_that_an_operator_cancels_did_not_happen_and_may_be_tried_again(database: str) -> None:
    entries = traded_market().take()
    async with opened(database) as store:
        blocker = await asyncpg.connect(database)
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE market.execution")
            committing = asyncio.ensure_future(store.commit(entries))
            await _until_waiting(blocker, store)
            await blocker.execute("SELECT pg_cancel_backend($1)", store._server_pid)
            with pytest.raises(NotCommitted) as refusal:
                await committing
        await blocker.close()
        assert not refusal.value.permanent
        await store.commit(entries)
        assert (await store.recover()).seq == entries[-1].seq


async def test_resolve_waits_for_a_commit_that_still_runs(database: str) -> None:
    """Told to resolve while the old transaction is held up: it ends that session first, and the answer is final."""
    entries = traded_market().take()
    async with opened(database) as store:
        blocker = await asyncpg.connect(database)
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE market.execution")
            committing = asyncio.ensure_future(store.commit(entries))
            await _until_waiting(blocker, store)
            assert await store.resolve() == 0
            with pytest.raises(Doubtful):
                await committing
        await blocker.close()
        assert await fetchval(database, "SELECT count(*) FROM market.command_log") == 0
        await store.commit(entries)
        assert await store.resolve() == entries[-1].seq


async def test_a_cancelled_caller_does_not_cancel_the_commit(database: str) -> None:
    entries = traded_market().take()
    async with opened(database) as store:
        blocker = await asyncpg.connect(database)
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE market.execution")
            caller = asyncio.ensure_future(store.commit(entries))
            await _until_waiting(blocker, store)
            caller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await caller
        await blocker.close()
    assert await fetchval(database, "SELECT seq FROM market.lease") == entries[-1].seq  # close() met its end


async def test_without_a_session_nothing_is_promised(database: str) -> None:
    store = PostgresStore(database)
    for act in (store.recover(), store.commit(traded_market().take())):
        with pytest.raises(Doubtful):
            await act


async def test_a_server_that_stays_away_is_reported_after_the_given_time() -> None:
    store = PostgresStore("postgresql://nobody@/none?host=/nonexistent", reconnect_s=0.2)
    with pytest.raises(OSError, match="No such file"):
        await store.open()
    with pytest.raises((OSError, Doubtful)):
        await store.resolve()


async def _until_waiting(observer: asyncpg.Connection, store: PostgresStore) -> None:
    """Wait until the store's session waits for a lock."""
    query = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $1"
    while await observer.fetchval(query, store._server_pid) != "Lock":
        await asyncio.sleep(0.005)


async def test_closing_a_session_that_the_server_ended_is_no_error(database: str) -> None:
    """Else it would hide why the engine stopped, which is what its supervisor must hear."""

    class Gone:
        terminated = False

        def is_closed(self) -> bool:
            return False

        async def close(self, *, timeout: float) -> None:
            raise BrokenPipeError(timeout)

        def terminate(self) -> None:
            self.terminated = True

    store, gone = PostgresStore(database), Gone()
    store._connection = gone
    await store.close()
    assert gone.terminated
