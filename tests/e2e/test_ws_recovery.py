"""A client that is killed again and again knows in the end exactly what the engine knows (./dev soak: 1,000 times)."""

import pytest

from tests.e2e import reconnects


@pytest.mark.parametrize(("seed", "lives"), [(1, 20), (2, 15)])
async def test_a_client_that_is_killed_at_random_ends_with_the_truth(database: str, seed: int, lives: int) -> None:
    client = await reconnects.run(database, lives=lives, seed=seed)
    assert client.resumed > lives
    assert len(client.fills) > 0
