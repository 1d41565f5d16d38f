"""The examples of docs/client.md, run as they stand against the service."""

import asyncio
import inspect
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Backoff, MarketClient
from tests.builders import sell
from tests.e2e.stack import Stack
from tests.patience import PATIENCE_S

DOC = Path(__file__).resolve().parents[2] / "docs/client.md"
CODE = "\n".join(re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL))


class Printed(list[str]):
    """What the examples print, and a way to wait for it."""

    def __call__(self, *words: object) -> None:
        self.append(" ".join(map(str, words)))

    async def until(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not any(text in line for line in self):
                await asyncio.sleep(0.01)


@pytest.fixture
def printed() -> Printed:
    return Printed()


@pytest.fixture
def examples(printed: Printed) -> dict[str, Any]:
    found: dict[str, Any] = {"print": printed}
    exec(compile(CODE, str(DOC), "exec"), found)
    return found


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[MarketClient]:
    async with MarketClient(stack.url, await stack.investor("B"), backoff=Backoff(first_s=0.01)) as client:
        yield client


def test_no_example_is_forgotten(examples: dict[str, Any]) -> None:
    tested = inspect.getsource(inspect.getmodule(test_no_example_is_forgotten))  # type: ignore[arg-type]
    mine = [name for name, each in examples.items() if inspect.iscoroutinefunction(each)]
    assert len(mine) >= 7
    assert [name for name in mine if f'examples["{name}"]' not in tested] == []


async def test_the_first_order(stack: Stack, examples: dict[str, Any], printed: Printed) -> None:
    await stack.do(sell("ORIG", 9_850, 5_000_00))
    await examples["first_order"](stack.url, await stack.investor("B"))
    assert printed[0] == "best offer Level(price=9850, qty=500000)"
    assert printed[1].endswith(" new")


async def test_events_books_and_prices(
    stack: Stack, client: MarketClient, examples: dict[str, Any], printed: Printed
) -> None:
    running = [examples["watch"](client), examples["follow"](client), examples["best_prices"](client)]
    tasks = [asyncio.create_task(each) for each in running]
    await stack.do(sell("ORIG", 9_850, 50_00))
    await client.add_order(symbol="L1/USD", side="buy", limit_price="98.00", order_qty="10.00")
    await printed.until(" 50")
    await printed.until("update L1/USD 98.00 98.50")
    client.reconnect()
    await printed.until("lost, close code 1006")
    await printed.until("connection 2 has everything")
    await printed.until("snapshot L1/USD 98.00 98.50")
    for task in tasks:
        task.cancel()


async def test_fills_and_orders(stack: Stack, client: MarketClient, examples: dict[str, Any], printed: Printed) -> None:
    await examples["buy"](client)
    assert printed[-1].endswith(" new 0.00")
    await client.rest.post("/v1/orders/cancel-all")
    await examples["buy"](client)
    adding = asyncio.create_task(examples["add_up"](client, 0))
    await stack.do(sell("ORIG", 9_700, 40_00))
    await printed.until("L1/USD buy 40.00 at 97.50")
    adding.cancel()
    await examples["after_a_crash"](client, "nobody-sent-this")
    assert printed[-1].startswith("it was never executed")
    await client.add_order(symbol="L1/USD", side="buy", limit_price="90.00", order_qty="1.00", cl_ord_id="sent")
    await examples["after_a_crash"](client, "sent")
    assert printed[-1] == "new"
