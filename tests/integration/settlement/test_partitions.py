"""Ledgers of several partitions in one database: each whole by itself, and all of them together one market."""

import copy
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from market.commands import Done, ReceiveCash, Withdraw
from market.engine import NotCommitted
from market.events import CashReceived, CashSent
from market.ids import AccountId, Currency, Minor, Seq
from market.partitions import STRIDE, schema_of
from market.settlement.check import BETWEEN, CHECKS, check
from market.settlement.merged import ADDED_UP, SPREAD, search_path
from market.settlement.migrate import MigrationError, available, migrate
from market.settlement.replay import replay
from market.settlement.warm import WarmCopy
from tests.builders import buy, open_account, receive_cash, register, sell, send_cash, service, servicing
from tests.integration.settlement.recording import RecordingMarket, execute, fetchval, opened, traded_market

# Belongs to no loan, or is written and read in its own ledger alone: it is read in the first one, or not by readers.
OF_NO_LOAN = {
    *("account", "market_state", "rulebook", "default_rulebook", "kill_switch", "mmp", "fenced_id", "title_secret"),
    *("api_key", "web_user", "web_session", "facade_nonce", "ahead_signature"),
    *("lease", "command_stream", "migration", "cash_move", "cash_receipt", "cash_line"),
}


@pytest.fixture
async def partitioned(database: str) -> str:
    await migrate(database, partitions=3)
    return database


async def fetch(dsn: str, query: str, *, partitions: int) -> list[Any]:
    """As a gateway asks: by its role, with its search path."""
    settings = {"search_path": search_path(partitions), "role": "debt_market_gateway"}
    connection = await asyncpg.connect(dsn, server_settings=settings)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


class Ledgers:
    """Two partitions: A's cash at the first goes to the second, buys there, and what is left goes back."""

    def __init__(self) -> None:
        self.first, self.second = traded_market(), RecordingMarket(loans=(), partition=1)
        self.second.do(open_account("A"))
        self.second.do(register("M1"))
        self.first.do(send_cash("A", 700_00, 1, "m-1"))
        sent_seq = self.first.venue.seq
        self.second.do(receive_cash("A", 700_00, 0, "m-1", sent_seq=sent_seq, all_before=sent_seq))
        self.second.do(sell("ORIG", 9_800, 1_000_00, loan_id="M1"))
        self.second.do(buy("A", 9_800, 500_00, loan_id="M1"))
        self.second.do(service(servicing("payment", self.second.venue.state.today, 900_00, loan_id="M1")))
        self.second.do(send_cash("A", 100_00, 0, "m-2"))
        self.first.do(receive_cash("A", 100_00, 1, "m-2", sent_seq=self.second.venue.seq))
        self.first.do(send_cash("A", 5_00, 2, "m-3"))  # stays on the way

    async def commit(self, dsn: str) -> None:
        """What the first one sent is durable before the second receives it, and the other way round."""
        entries = self.first.take()
        later = next(entry.seq for entry in entries if any(isinstance(e, CashReceived) for e in entry.events))
        async with opened(dsn) as first, opened(dsn, partition=1) as second:
            await first.commit([entry for entry in entries if entry.seq < later])
            await second.commit(self.second.take())
            await first.commit([entry for entry in entries if entry.seq >= later])


@pytest.fixture
async def ledgers(partitioned: str) -> str:
    await Ledgers().commit(partitioned)
    return partitioned


async def test_every_ledger_has_every_table_and_counts_from_its_origin(partitioned: str) -> None:
    for partition in (0, 1, 2):
        schema = schema_of(partition)
        assert await fetchval(partitioned, f"SELECT count(*) FROM {schema}.migration") == len(available())
        assert await fetchval(partitioned, f"SELECT seq FROM {schema}.lease") == partition * STRIDE
    named = "SELECT array_agg(DISTINCT prosrc) FROM pg_proc WHERE pronamespace = 'market_1'::regnamespace"
    assert not [source for source in await fetchval(partitioned, named) if " market." in source]
    assert (await check(partitioned)).ok


async def test_partitions_grow_and_never_shrink(partitioned: str) -> None:
    assert await migrate(partitioned) == await migrate(partitioned, partitions=3) == []
    with pytest.raises(MigrationError, match="cut into 3 partitions"):
        await migrate(partitioned, partitions=1)
    assert len(await migrate(partitioned, partitions=4)) == len(available())
    assert await fetchval(partitioned, "SELECT count(*) FROM market_all.loan") == 0


async def test_a_migration_that_comes_later_is_applied_to_all_or_none(
    partitioned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from market.settlement import migrate as migrations  # noqa: PLC0415

    later = {**available(), "9998_more": "ALTER TABLE market.loan ADD COLUMN remark text"}
    monkeypatch.setattr(migrations, "available", lambda: {**later, "9999_wrong": "SELECT 1 / 0"})
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(partitioned, partitions=3)
    assert await fetchval(partitioned, "SELECT count(*) FROM market_all.loan") == 0
    monkeypatch.setattr(migrations, "available", lambda: later)
    assert await migrate(partitioned) == ["9998_more", "market_1: 9998_more", "market_2: 9998_more"]
    assert await fetch(partitioned, "SELECT remark FROM loan", partitions=3) == []


async def test_every_table_is_shown_for_all_ledgers_or_is_of_none(partitioned: str) -> None:
    tables = await fetchval(
        partitioned,
        "SELECT array_agg(relname::text) FROM pg_class "
        "WHERE relnamespace = 'market'::regnamespace AND relkind IN ('r', 'v')",
    )
    assert set(tables) == {*SPREAD, *ADDED_UP, *OF_NO_LOAN}
    assert not {*SPREAD, *ADDED_UP} & OF_NO_LOAN


async def test_all_ledgers_are_right_and_the_log_makes_each_of_them(ledgers: str) -> None:
    report = await check(ledgers)
    assert report.ok, [found for found in report.checks if not found.ok]
    assert len(report.checks) == 3 * len(CHECKS) + len(BETWEEN)
    for partition in (0, 1, 2):
        assert (await replay(ledgers, partition=partition)).ok


async def test_a_reader_sees_one_market(ledgers: str) -> None:
    loans = await fetch(ledgers, "SELECT loan_id FROM loan ORDER BY 1", partitions=3)
    assert loans == [("L1",), ("L2",), ("M1",)]
    [(cash,)] = await fetch(ledgers, "SELECT total FROM cash_balance WHERE account_id = 'A'", partitions=3)
    legs = "SELECT sum(amount)::bigint FROM posting WHERE account_id = 'A' AND unit = 'cash'"
    assert await fetch(ledgers, legs, partitions=3) == [(cash,)]
    assert await fetch(ledgers, "SELECT 1 FROM posting WHERE leg = 'transit'", partitions=3) == []
    sums = await fetch(ledgers, "SELECT currency, sum(total)::bigint FROM cash_balance GROUP BY 1", partitions=3)
    assert [total for _, total in sums] == [0]
    days = await fetch(ledgers, "SELECT since_seq FROM business_day ORDER BY 1", partitions=3)
    assert days == [(1,), (STRIDE + 1,)]
    parties = "SELECT DISTINCT title_party('X', account_id) = market_1.title_party('X', account_id) FROM account"
    assert await fetch(ledgers, parties, partitions=3) == [(True,)]


async def test_a_rebuilt_and_a_warm_venue_go_on_where_the_ledger_ends(partitioned: str) -> None:
    world = Ledgers()
    await world.commit(partitioned)
    warm = WarmCopy(partition=1)
    connection = await asyncpg.connect(partitioned, server_settings={"search_path": "market_1"})
    try:
        assert await warm.catch_up(connection)
        world.second.do(send_cash("A", 1_00, 0, "m-4"))
        async with opened(partitioned, partition=1) as store:
            await store.commit(world.second.take())
            assert not await warm.catch_up(connection), "a move is followed, not read anew"
            rebuilt = await store.recover()
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                kept = await warm.take(connection)
    finally:
        await connection.close()
    assert kept is not None
    assert rebuilt.state_hash() == kept.state_hash() == world.second.venue.state_hash()


async def test_engines_of_two_partitions_write_side_by_side_and_two_of_one_do_not(partitioned: str) -> None:
    async with opened(partitioned), opened(partitioned, partition=1):
        with pytest.raises(Exception, match="another engine holds the lease"):
            async with opened(partitioned, partition=1):
                pass


@pytest.mark.parametrize(
    "forged",
    [
        receive_cash("A", 5_00, 0, "never"),
        receive_cash("A", 6_00, 0, "m-3"),
        receive_cash("A", 5_00, 1, "m-3"),
        receive_cash("A", 5_00, 0, "m-3", currency="EUR"),
        receive_cash("B", 5_00, 0, "m-3"),
        receive_cash("A", 700_00, 0, "m-1"),  # sent to another partition
        receive_cash("A", 5_00, 0, "m-3", sent_seq=1),  # somewhere else in the sender's log
    ],
)
async def test_the_database_refuses_what_was_not_sent(ledgers: str, forged: ReceiveCash) -> None:
    if not forged.sent_seq:
        forged = replace(forged, sent_seq=await sent_at(ledgers, forged.move_id) or Seq(1))
    third = RecordingMarket(loans=(), partition=2)
    third.investor("A")
    third.investor("B")
    third.do(forged)
    async with opened(ledgers, partition=2) as store:
        with pytest.raises(NotCommitted, match="cash_received_was_sent"):
            await store.commit(third.take())
    assert (await check(ledgers)).ok


async def sent_at(dsn: str, move_id: str) -> Seq:
    """Return the command that sent a move out of the first ledger."""
    seq: Seq = await fetchval(dsn, f"SELECT max(seq) FROM market.cash_move WHERE move_id = '{move_id}'")
    return seq


async def test_a_receiver_does_not_forget_what_is_still_due(partitioned: str) -> None:
    """The database refuses who says that all before is received, and takes it once it is."""
    first, second = RecordingMarket(loans=()), RecordingMarket(loans=(), partition=1)
    first.investor("A", cash=1_000_00)
    second.do(open_account("A"))
    receipts = []
    for nr in range(3):
        first.do(send_cash("A", 1_00, 1, f"m-{nr}"))
        receipts.append(receive_cash("A", 1_00, 0, f"m-{nr}", sent_seq=first.venue.seq))
    due, later, last = receipts
    async with opened(partitioned) as store, opened(partitioned, partition=1) as receiver:
        await store.commit(first.take())
        second.do(later)
        await receiver.commit(second.take())
        rash = copy.deepcopy(second)
        rash.do(replace(last, all_before=last.sent_seq))
        with pytest.raises(NotCommitted, match="cash_before_is_received"):
            await receiver.commit(rash.take())
        second.do(replace(last, all_before=due.sent_seq))
        second.do(replace(due, all_before=due.sent_seq))
        await receiver.commit(second.take())
        first.do(send_cash("A", 1_00, 1, "m-3"))
        await store.commit(first.take())
        seq = first.venue.seq
        second.do(receive_cash("A", 1_00, 0, "m-3", sent_seq=seq, all_before=seq))
        await receiver.commit(second.take())
        rebuilt = await receiver.recover()
    assert list(rebuilt.state.received) == [(0, "m-3")]
    assert rebuilt.state_hash() == second.venue.state_hash()
    assert rebuilt.apply(Seq(rebuilt.seq + 1), second.at, due).result == Done(duplicate=True)
    assert (await check(partitioned)).ok


async def test_of_many_sent_moves_a_rebuilt_venue_knows_the_latest(partitioned: str) -> None:
    first = RecordingMarket(loans=())
    first.investor("A", cash=1_000_00)
    for nr in range(1_005):
        first.do(send_cash("A", 1, 1, f"m-{nr}"))
    async with opened(partitioned) as store:
        await store.commit(first.take())
        rebuilt = await store.recover()
        assert list(rebuilt.state.sent) == [f"m-{nr}" for nr in range(5, 1_005)]
        assert rebuilt.state_hash() == first.venue.state_hash()
        first.do(send_cash("A", 1, 1, "m-0"))  # forgotten, but the ledger's key knows it
        with pytest.raises(NotCommitted, match="cash_moves_once"):
            await store.commit(first.take())


async def test_the_database_sends_nothing_where_no_ledger_is(ledgers: str) -> None:
    third = RecordingMarket(loans=(), partition=2)
    third.investor("A")
    third.do(receive_cash("A", 5_00, 0, "m-3", sent_seq=await sent_at(ledgers, "m-3")))
    third.do(send_cash("A", 5_00, 9, "m"))
    async with opened(ledgers, partition=2) as store:
        with pytest.raises(NotCommitted, match="cash_is_sent_to_a_ledger"):
            await store.commit(third.take())


async def test_a_loan_has_one_home(ledgers: str) -> None:
    third = RecordingMarket(loans=("M1",), partition=2)
    async with opened(ledgers, partition=2) as store:
        with pytest.raises(NotCommitted, match="loan_has_one_home"):
            await store.commit(third.take())


async def test_cash_that_servicing_paid_elsewhere_is_withdrawn_at_the_first_ledger(partitioned: str) -> None:
    """The custodian's mirror there is positive then, and the sum over the ledgers is what it has."""
    second = RecordingMarket(loans=("M1",), partition=1)
    second.do(service(servicing("payment", second.venue.state.today, 900_00, loan_id="M1")))
    got, _ = second.cash("ORIG")
    second.do(send_cash("ORIG", got, 0, "m"))
    first = RecordingMarket(loans=())
    first.do(receive_cash("ORIG", got, 1, "m", sent_seq=second.venue.seq))
    first.do(Withdraw(account_id=AccountId("ORIG"), currency=Currency("USD"), amount=Minor(got), custody_ref="w"))
    assert got > 0
    assert any(isinstance(event, CashSent) for entry in second.entries for event in entry.events)
    async with opened(partitioned, partition=1) as store:
        await store.commit(second.take())
    async with opened(partitioned) as store:
        await store.commit(first.take())
    report = await check(partitioned)
    assert report.ok, [found for found in report.checks if not found.ok]


TAMPERED = {
    "cash_received_was_sent": "DELETE FROM market.cash_move WHERE move_id = 'm-1'",
    "lines_and_what_is_on_the_way_make_the_balance": "DELETE FROM market_1.cash_receipt",
    "loans_have_one_home": "UPDATE market_1.loan SET loan_id = 'L1'",
    "accounts_are_those_of_the_first_ledger": "UPDATE market_1.account SET digest = '' WHERE account_id = 'A'",
    "cash_is_paid_in_and_out_at_the_first_ledger": (
        "INSERT INTO market_1.custody_movement VALUES ('x', 'A', 'USD', 1, '', 1, 1)"
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
async def test_tampering_between_ledgers_is_seen(ledgers: str, name: str) -> None:
    assert set(TAMPERED) == set(BETWEEN)
    await execute(ledgers, "SET session_replication_role = replica", TAMPERED[name])
    assert name in {found.name for found in (await check(ledgers)).checks if not found.ok}


async def test_a_fault_in_one_ledger_is_named_with_it(ledgers: str) -> None:
    await execute(
        ledgers,
        "SET session_replication_role = replica",
        "UPDATE market_1.command_log SET actor = 'x' WHERE seq % 7 = 3",
    )
    wrong = [found.name for found in (await check(ledgers)).checks if not found.ok]
    assert wrong == ["market_1.log_hash_chain"]
