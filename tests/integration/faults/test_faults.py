"""Short runs of the fault campaigns; the long ones are in tests/soak.py."""

from tests.integration.faults.campaign import cut_campaign, kill_campaign
from tests.postgres import DatabaseServer


async def test_nothing_told_is_lost_when_the_engine_is_killed(postgres: DatabaseServer) -> None:
    await kill_campaign(postgres, kills=4, awaits=6, seed=7)


async def test_nothing_told_is_lost_when_the_link_is_cut(postgres: DatabaseServer) -> None:
    await cut_campaign(postgres, cuts=12, seed=7)
