"""The service as its clients meet it: over real sockets, on uvloop, as in production."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import uvloop

from tests.e2e.rest import Market, rest
from tests.e2e.stack import Stack, running_stack


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Any]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def stack(database: str) -> AsyncIterator[Stack]:
    async with running_stack(database) as running:
        yield running


@pytest.fixture
async def market(stack: Stack) -> AsyncIterator[Market]:
    async with rest(stack.url) as anyone:
        seller = anyone.of(await stack.key("ORIG"))
        buyer = anyone.of(await stack.investor("B"))
        admin = anyone.of(await stack.key("HOUSE", "read", "transfer", "admin"))
        yield Market(stack, seller, buyer, admin, anyone)
