"""Results from the tables against what the venue knows: over random worlds, and after write-offs."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from gateway.reads.results import claim_flows, currency_flows
from market.commands import RollDay
from market.ids import AccountId, LoanId, Seq
from market.settlement.migrate import available
from market.settlement.replay import replay
from tests.builders import buy, sell, service, servicing
from tests.integration.settlement.recording import LEDGER, RecordedWorld, RecordingMarket, batches, execute, opened


@pytest.fixture
async def pool(database: str) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    async with asyncpg.create_pool(database, min_size=1, max_size=1, server_settings=LEDGER) as opened_pool:
        yield opened_pool


@pytest.mark.parametrize("seed", [5, 6])
async def test_every_account_earned_what_its_flows_and_costs_say(
    database: str, pool: "asyncpg.Pool[asyncpg.Record]", seed: int
) -> None:
    """realised + interest - fees == flows + cost, in each currency: no result from nowhere, none lost."""
    world = RecordedWorld(seed, commands=500)
    state, last = world.recording.venue.state, world.recording.venue.seq
    async with opened(database) as store:
        for batch in batches(world.recording.take(), seed):
            await store.commit(batch)
    found = 0
    for account_id, account in state.accounts.items():
        by_claim = await claim_flows(pool, account_id, up_to=[last], loans=list(account.claims))
        by_currency = await currency_flows(pool, account_id, up_to=[last])
        for loan_id, claim in account.claims.items():
            flows = [flow for flow in by_claim if flow.of == loan_id]
            booked = sum(flow.amount + flow.fee - flow.interest for flow in flows)
            assert claim.realised - claim.cost == booked, (account_id, loan_id)
        for name in ("amount", "paid_in", "interest", "fee"):
            assert sum(getattr(flow, name) for flow in by_currency) == sum(getattr(flow, name) for flow in by_claim)
        assert {flow.of for flow in by_currency} <= {state.loans[each].terms.currency for each in account.claims}
        found += len(by_claim)
    assert found >= 5


def written_off() -> RecordingMarket:
    market = RecordingMarket()
    market.investor("A", cash=5_000_00)
    market.do(sell("ORIG", 90_00, 1_000_00))
    market.do(buy("A", 90_00, 1_000_00))
    today = market.venue.state.today
    market.do(service(servicing("payment", today, 1_000_00)))
    market.do(service(servicing("default", today)))
    market.do(service(servicing("write_off", today)))
    market.do(service(servicing("recovery", today, 3_000_00)))
    return market


async def test_a_write_off_is_a_loss_in_the_tables_and_in_a_replay(database: str) -> None:
    market = written_off()
    async with opened(database) as store:
        await store.commit(market.take())
        assert (await store.recover()).state_hash() == market.venue.state_hash()
    claim = market.venue.state.accounts[AccountId("A")].claims[LoanId("L1")]
    assert (claim.cost, claim.realised) == (0, 400_00 - 900_00)
    assert (await replay(database)).ok


async def test_what_was_written_off_before_is_brought_to_where_the_rule_leaves_it(database: str) -> None:
    market = written_off()
    async with opened(database) as store:
        await store.commit(market.take())
    await execute(database, "UPDATE market.position SET realised = realised + 123, cost = 123 WHERE account_id = 'A'")
    assert not (await replay(database)).ok
    [migration] = [sql for name, sql in available().items() if name.endswith("_results")]
    await execute(database, migration.partition("CREATE INDEX")[0])
    assert (await replay(database)).ok


async def test_flows_are_dated_by_the_business_day_on_which_they_were_booked(
    database: str, pool: "asyncpg.Pool[asyncpg.Record]"
) -> None:
    """Also when several days and payments lie in one batch."""
    market = RecordingMarket()
    first = market.venue.state.today
    market.investor("A", cash=5_000_00)
    market.do(sell("ORIG", 90_00, 1_000_00))
    market.do(buy("A", 90_00, 1_000_00))
    days = [first.replace(month=month) for month in (2, 3)]
    for day in days:
        market.do(RollDay(to=day))
        market.do(service(servicing("payment", day, 888_49)))
    async with opened(database) as store:
        await store.commit(market.take())
    flows = await currency_flows(pool, AccountId("A"), up_to=[market.venue.seq])
    assert sorted((flow.on, flow.amount, flow.interest) for flow in flows) == [
        (first, -900_00, 0),
        (days[0], 88_85, 10_00),
        (days[1], 88_85, 9_21),
    ]
    before_the_last = await currency_flows(pool, AccountId("A"), up_to=[Seq(market.venue.seq - 1)])
    assert {flow.on for flow in before_the_last} == {first, days[0]}
