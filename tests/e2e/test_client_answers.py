"""Whatever the line between client and service does to frames: orders end in a definite answer, feeds heal."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.client import Backoff, Connected, Fenced, Lost, MarketClient
from tests.e2e.lossy import LossyLine, lossy_line
from tests.e2e.stack import Stack
from tests.patience import PATIENCE_S

SOON = Backoff(first_s=0.01, most_s=0.05)
OFFER = {"symbol": "L1/USD", "side": "sell", "limit_price": "99.00", "order_qty": "100.00", "cl_ord_id": "c1"}


@pytest.fixture
async def line(stack: Stack) -> AsyncIterator[LossyLine]:
    async with lossy_line(stack) as line:
        yield line


@pytest.fixture
async def client(stack: Stack, line: LossyLine) -> AsyncIterator[MarketClient]:
    async with MarketClient(line.url, await stack.key("ORIG"), timeout_s=0.5, backoff=SOON) as client:
        yield client


def open_orders(stack: Stack) -> list[str | None]:
    return [order.client_order_id for order in stack.views.account("ORIG").open_orders.values()]


@pytest.mark.parametrize("where", ["requests", "replies"])
async def test_a_cut_connection_is_made_again_and_the_order_executes_once(
    stack: Stack, line: LossyLine, client: MarketClient, where: str
) -> None:
    getattr(line, where)["add_order"] = "cut"
    answer = await client.add_order(**OFFER)
    assert answer["duplicate"] == (where == "replies")
    assert (open_orders(stack), client.connections) == (["c1"], 2)


async def test_a_lost_answer_is_asked_for(stack: Stack, line: LossyLine, client: MarketClient) -> None:
    line.replies["add_order"] = "lose"
    answer = await client.add_order(**OFFER)
    assert (answer["cl_ord_id"], answer["order_status"]) == ("c1", "new")
    assert (open_orders(stack), client.connections) == (["c1"], 1)


async def test_a_question_that_is_lost_too_is_asked_again(stack: Stack, line: LossyLine, client: MarketClient) -> None:
    line.replies |= {"add_order": "lose", "resolve_order": "cut"}
    assert (await client.add_order(**OFFER))["cl_ord_id"] == "c1"
    assert open_orders(stack) == ["c1"]


async def test_an_order_that_was_held_back_is_fenced(stack: Stack, line: LossyLine, client: MarketClient) -> None:
    """The first copy comes late, when the second was refused: it must not be executed after all."""
    line.requests["add_order"] = "hold"
    with pytest.raises(Fenced) as told:
        await client.add_order(**{**OFFER, "symbol": "L9/USD"})
    assert told.value.outcome == "not_executed"
    await line.release()
    assert open_orders(stack) == []
    with pytest.raises(Exception, match="duplicate_id"):
        await client.add_order(**OFFER)


async def test_a_late_copy_of_an_order_that_was_placed_changes_nothing(
    stack: Stack, line: LossyLine, client: MarketClient
) -> None:
    line.requests["add_order"] = "hold"
    assert not (await client.add_order(**OFFER))["duplicate"]
    await line.release()
    assert open_orders(stack) == ["c1"]


async def test_a_cancel_is_asked_again(stack: Stack, line: LossyLine, client: MarketClient) -> None:
    await client.add_order(**OFFER)
    line.requests["cancel_order"] = "cut"
    assert (await client.cancel_order(cl_ord_id="c1"))["order_status"] == "canceled"
    assert open_orders(stack) == []


async def test_a_message_that_was_lost_is_sent_again(stack: Stack, line: LossyLine, client: MarketClient) -> None:
    """On the same connection: executions go on behind the last one that was heard, the book is asked for anew."""
    book, executions = await client.book("L1/USD"), client.executions(from_seq=0)
    await client.add_order(**OFFER)
    assert (await anext(executions)).sequence == 1
    line.pushes |= {"executions": "lose", "book": "lose"}
    for n in (2, 3):
        await client.add_order(**{**OFFER, "cl_ord_id": f"c{n}"})
    async with asyncio.timeout(PATIENCE_S):
        assert [(await anext(executions)).sequence for _ in range(2)] == [2, 3]
        async for state in book.updates():
            if state.is_live and state.best_ask == (9_900, 300_00):
                break
    assert (book.resyncs, client.connections) == (1, 1)


async def test_a_connection_whose_snapshots_are_wrong_is_left(
    stack: Stack, line: LossyLine, client: MarketClient
) -> None:
    events = client.events()
    line.pushes["book"] = "falsify"
    await client.add_order(**OFFER)
    asking = asyncio.create_task(client.book("L1/USD"))
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await anext(events), Lost)
        line.pushes.clear()
        assert isinstance(await anext(events), Connected)
        book = await asking
        async for state in book.updates():
            if state.is_live and state.best_ask == (9_900, 100_00):
                break
    assert (book.resyncs, client.connections) == (3, 2)
