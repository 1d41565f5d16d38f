"""Servicing in the tables: what memory says after events survives a rebuild, to the row of a schedule."""

from datetime import date

from market.claims.servicing import NewRow
from market.commands import RollDay, Unblock
from market.ids import AccountId, LoanId, Minor
from market.settlement.check import check
from market.settlement.replay import replay
from tests.builders import buy, service, servicing
from tests.integration.settlement.recording import opened, traded_market


async def test_a_serviced_market_is_rebuilt_from_its_tables(database: str) -> None:
    market = traded_market()  # with a first instalment paid early, and 11.51 in advance
    market.do(RollDay(to=date(2024, 3, 15)))
    part = servicing("payment", date(2024, 3, 15), 100_00)
    new = (
        NewRow(due_date=date(2025, 1, 1), interest=Minor(5_00), principal=Minor(10_300_00)),
    )  # capitalised: a factor above 1
    market.do(service(part, servicing("reschedule", date(2024, 3, 15), schedule=new)))
    market.do(Unblock(account_id=AccountId("A")))
    market.do(buy("A", 9_500, 100_00))
    async with opened(database) as store:
        await store.commit(market.take())
        venue = await store.recover()
        assert venue.state_hash() == market.venue.state_hash()
        assert venue.state.loans[LoanId("L1")].schedule == market.venue.state.loans[LoanId("L1")].schedule
        assert venue.state.servicing == market.venue.state.servicing

        market.do(service(servicing("prepayment", date(2024, 3, 15))))
        await store.commit(market.take())
        assert (await store.recover()).state_hash() == market.venue.state_hash()
    report = await check(database)
    assert report.ok, report
    assert (await replay(database)).ok
