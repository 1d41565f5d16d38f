"""Engines of two partitions beside each other: what is common comes to both, sent cash arrives, idle cash returns."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from market.commands import (
    AccountKind,
    CancelAll,
    Command,
    DefineRulebook,
    FreezeAccount,
    Mode,
    OpenMarket,
    RollDay,
    SetDefaultRulebook,
    SetMmp,
    SetMode,
    Unblock,
)
from market.engine import Engine
from market.ids import AccountId, Currency
from market.partitions import schema_of
from market.settlement.catching_up import CatchUp, missing
from market.settlement.check import check
from market.settlement.journal import HOUSE
from market.settlement.migrate import migrate
from market.settlement.receiving import Receiver
from market.settlement.reclaiming import IdleLines
from market.settlement.writer import PostgresStore
from market.venue.rulebook import FeeRule, Rulebook
from tests.builders import DAY, buy, deposit, mass_quote, open_account, quote, register, sell, send_cash
from tests.patience import PATIENCE_S

NEVER_S = 3_600.0
A = AccountId("A")
OWN_RULES = Rulebook(name="own", buyer_fee=FeeRule(rate_ppm=10_000))


@asynccontextmanager
async def running(dsn: str, partition: int) -> AsyncIterator[Engine]:
    engine = Engine(store=PostgresStore(dsn, partition=partition), clock=time.time_ns)
    task = asyncio.create_task(engine.run())
    await engine.online()
    try:
        yield engine
    finally:
        engine.stop()
        await task


@asynccontextmanager
async def beside(*works: Awaitable[None]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.fixture
async def engines(database: str) -> AsyncIterator[list[Engine]]:
    """That of the first partition has a house, an originator and A with 1,000.00; that of the second has nothing."""
    await migrate(database, partitions=2)
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(running(database, partition)) for partition in (0, 1)]
        await do(both[0], OpenMarket(business_date=DAY), open_account("HOUSE", AccountKind.HOUSE))
        await do(both[0], open_account("ORIG", AccountKind.ORIGINATOR), open_account("A"), deposit("A", 1_000_00))
        yield both


async def do(engine: Engine, *commands: Command) -> None:
    for command in commands:
        await engine.submit(command, actor="t")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)


def cash(engine: Engine, account_id: AccountId = A) -> int:
    account = engine._venue.state.accounts.get(account_id)
    return 0 if account is None else account.cash[Currency("USD")].total


def same(one: Engine, other: Engine) -> bool:
    """Whether both have the same of what all partitions have in common."""

    def common(engine: Engine) -> object:
        state = engine._venue.state
        accounts = [
            (a.account_id, a.digest, a.frozen, a.blocked, a.default_rulebook, list(a.guards))
            for a in state.accounts.values()
        ]
        return state.mode, state.business_date, state.rulebooks, accounts

    return common(one) == common(other)


CHANGES: list[Command] = [
    open_account("MM", AccountKind.MARKET_MAKER, name="Maker", owner_group="g", risk_class="c3"),
    DefineRulebook(rulebook=OWN_RULES),
    SetDefaultRulebook(account_id=AccountId("ORIG"), rulebook="own"),
    FreezeAccount(account_id=A, frozen=True),
    CancelAll(account_id=AccountId("MM"), block=True),
    SetMmp(account_id=AccountId("MM"), group="g", max_fills=3, window=10**9),
    SetMode(mode=Mode.HALTED),
    RollDay(to=DAY + timedelta(days=3)),
]
BACK: list[Command] = [
    SetDefaultRulebook(account_id=AccountId("ORIG"), rulebook=None),
    FreezeAccount(account_id=A, frozen=False),
    SetMmp(account_id=AccountId("MM"), group="g", max_face=5, window=10**9),  # type: ignore[arg-type]
    SetMode(mode=Mode.OPEN),
    DefineRulebook(rulebook=Rulebook(name="own", max_transfers=4)),
]


async def test_a_new_partition_begins_with_all_that_the_first_one_knows(database: str, engines: list[Engine]) -> None:
    first, second = engines
    await do(first, *CHANGES)
    await CatchUp(database, second, 1).begin()
    assert same(first, second)
    assert (await check(database)).ok
    connection = await asyncpg.connect(database)
    _, commands = await missing(connection, schema_of(1))
    assert commands == []
    await connection.close()


async def test_a_new_partition_waits_for_the_first_market_to_open(database: str) -> None:
    await migrate(database, partitions=2)
    async with running(database, 0) as first, running(database, 1) as second:
        beginning = asyncio.create_task(CatchUp(database, second, 1).begin())
        await asyncio.sleep(0)
        await do(first, OpenMarket(business_date=DAY))
        await asyncio.wait_for(beginning, PATIENCE_S)
        assert same(first, second)


async def test_what_a_partition_missed_comes_to_it_while_it_runs(database: str, engines: list[Engine]) -> None:
    first, second = engines
    ahead_ns = 10 * 10**9  # nobody sends it to the second one here: no need to wait
    catch_up = CatchUp(database, second, 1, clock=lambda: time.time_ns() + ahead_ns)
    await catch_up.begin()
    async with beside(catch_up.run()):
        for commands in (CHANGES, BACK):
            await do(first, *commands)
            await until(lambda: same(first, second))


async def test_a_block_comes_to_every_partition_and_is_lifted_in_none(database: str, engines: list[Engine]) -> None:
    """The kill switch works where a partition can be reached: what was blocked there alone must stay so."""
    first, second = engines
    catch_up = CatchUp(database, second, 1)
    await do(first, CancelAll(account_id=A, block=True))
    await catch_up.begin()
    account = second._venue.state.accounts[A]
    assert account.blocked
    await do(first, Unblock(account_id=A))
    await catch_up.now()
    assert account.blocked


async def test_sent_cash_arrives_by_word_of_the_sender(database: str, engines: list[Engine]) -> None:
    first, second = engines
    catch_up = CatchUp(database, second, 1)
    await catch_up.begin()
    async with beside(Receiver(database, second, 1, poll_s=NEVER_S).run(), Receiver(database, first, 0).run()):
        await do(second, register("M1"))
        await do(first, send_cash("A", 300_00, 1, "m-1"))
        await until(lambda: cash(second) == 300_00)
        await do(second, sell("ORIG", 9_800, 100_00, loan_id="M1"), buy("A", 9_800, 100_00, loan_id="M1"))
        left = cash(second)
        await do(second, send_cash("A", left, 0, "m-1"))
        await until(lambda: cash(first) == 700_00 + left)
    report = await check(database)
    assert report.ok, [found for found in report.checks if not found.ok]


async def test_cash_for_an_account_that_the_receiver_missed_arrives(database: str, engines: list[Engine]) -> None:
    first, second = engines
    catch_up = CatchUp(database, second, 1)
    await catch_up.begin()
    await do(first, open_account("LATE"), deposit("LATE", 5_00), send_cash("LATE", 5_00, 1, "m-1"))
    async with beside(Receiver(database, second, 1, on_unknown_account=catch_up.now, poll_s=0.05).run()):
        await until(lambda: cash(second, AccountId("LATE")) == 5_00)
    assert (await check(database)).ok


async def test_more_moves_than_are_asked_for_at_once_arrive(
    database: str, engines: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market.settlement.receiving.AT_ONCE", 7)
    first, second = engines
    await CatchUp(database, second, 1).begin()
    await asyncio.gather(*(first.submit(send_cash("A", 1, 1, f"m-{i}"), actor="t") for i in range(40)))
    async with beside(Receiver(database, second, 1, poll_s=NEVER_S).run()):
        await until(lambda: cash(second) == 40)
    assert len(second._venue.state.received) <= 7, "of those before them it is known that all have come"


async def test_a_receiver_begins_where_the_one_before_had_received_all(database: str, engines: list[Engine]) -> None:
    first, second = engines
    await CatchUp(database, second, 1).begin()
    connection = await asyncpg.connect(database)
    try:
        for nr in range(3):
            await do(first, send_cash("A", 1_00, 1, f"m-{nr}"))
            assert await Receiver(database, second, 1).receive_due(connection) == 1
        assert [move_id for _, move_id in second._venue.state.received] == ["m-2"]
        assert await Receiver(database, second, 1).receive_due(connection) == 0
    finally:
        await connection.close()
    assert cash(second) == 3_00


async def test_idle_cash_goes_back_to_the_first_partition(database: str, engines: list[Engine]) -> None:
    first, second = engines
    await do(first, DefineRulebook(rulebook=OWN_RULES))
    await CatchUp(database, second, 1).begin()
    lines = IdleLines(second, idle_s=0.2)
    second.listen(lines)
    await do(second, register("M1"), register("M2"))
    works = (Receiver(database, second, 1).run(), Receiver(database, first, 0).run(), lines.run())
    async with beside(*works):
        await do(first, send_cash("A", 300_00, 1, "m-1"))
        await until(lambda: cash(second) == 300_00)
        await until(lambda: cash(first) == 1_000_00 and not cash(second))
    assert (await check(database)).ok


async def test_cash_that_an_order_or_a_quote_holds_stays(database: str, engines: list[Engine]) -> None:
    first, second = engines
    await do(first, open_account("B", AccountKind.MARKET_MAKER), deposit("B", 500_00))
    await CatchUp(database, second, 1).begin()
    await do(second, register("M1"))
    async with beside(Receiver(database, second, 1).run()):
        await do(first, send_cash("A", 300_00, 1, "m-1"), send_cash("B", 300_00, 1, "m-2"))
        await until(lambda: cash(second) == cash(second, AccountId("B")) == 300_00)
    lines = IdleLines(second, idle_s=NEVER_S)
    second.listen(lines)
    await do(second, buy("A", 9_000, 100_00, loan_id="M1"), mass_quote("B", quote((8_900, 100_00), None, "M1")))
    later = asyncio.get_running_loop().time() + 2 * NEVER_S
    assert lines.idle(later) == []
    await do(second, CancelAll(account_id=A))
    assert lines.idle(asyncio.get_running_loop().time()) == []
    assert lines.idle(later) == [(A, Currency("USD"), 300_00)]


async def test_fees_are_swept_though_the_house_is_never_idle(database: str, engines: list[Engine]) -> None:
    first, second = engines
    await do(
        first, DefineRulebook(rulebook=OWN_RULES), SetDefaultRulebook(account_id=AccountId("ORIG"), rulebook="own")
    )
    await CatchUp(database, second, 1).begin()
    lines = IdleLines(second, idle_s=NEVER_S)
    second.listen(lines)
    async with beside(Receiver(database, second, 1).run()):
        await do(first, send_cash("A", 300_00, 1, "m-1"))
        await until(lambda: cash(second) == 300_00)
    await do(second, register("M1"), sell("ORIG", 9_800, 100_00, loan_id="M1"), buy("A", 9_800, 100_00, loan_id="M1"))
    fee = cash(second, HOUSE)
    assert fee > 0
    assert lines.idle(asyncio.get_running_loop().time()) == [(HOUSE, Currency("USD"), fee)]
