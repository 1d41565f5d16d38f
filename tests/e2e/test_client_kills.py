"""A short campaign of what `./dev soak --reconnects 1000` does at length."""

import pytest

from tests.e2e import client_kills


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_client_whose_line_breaks_ends_with_the_engine_s_books_orders_and_fills(
    database: str, seed: int
) -> None:
    campaign = await client_kills.run(database, cuts=40, seed=seed)
    assert campaign.relay.cuts >= 40
    assert campaign.desk.orders
    assert None not in campaign.desk.sent.values()
