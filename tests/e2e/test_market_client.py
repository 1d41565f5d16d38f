"""The client that stays, against the real service: what it knows survives the connections it is known by."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.client import (
    ApiError,
    ApiKey,
    Backoff,
    Book,
    Connected,
    EpochChanged,
    ExecutionReport,
    Executions,
    Level,
    Lost,
    MarketClient,
)
from tests.builders import sell
from tests.e2e.stack import Stack
from tests.e2e.traders import Traders
from tests.patience import PATIENCE_S

SOON = Backoff(first_s=0.01, most_s=0.05)
OFFER = {"symbol": "L1/USD", "side": "sell", "limit_price": "99.00", "order_qty": "100.00"}


@pytest.fixture
async def key(stack: Stack) -> ApiKey:
    return await stack.key("ORIG")


@pytest.fixture
async def client(stack: Stack, key: ApiKey) -> AsyncIterator[MarketClient]:
    async with MarketClient(stack.url, key, backoff=SOON) as client:
        yield client


async def until(book: Book, wanted: Callable[[Book], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        async for state in book.updates():
            if wanted(state):
                return


async def next_report(executions: Executions) -> ExecutionReport:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(executions)


async def test_a_book_follows_the_market(stack: Stack, client: MarketClient) -> None:
    book = await client.book("L1/USD")
    assert (book.is_live, book.bids, book.asks) == (True, [], [])
    await stack.do(sell("ORIG", 9_900, 100_00), sell("ORIG", 9_850, 50_00))
    await until(book, lambda book: len(book.asks) == 2)
    assert book.asks == [Level(9_850, 50_00), Level(9_900, 100_00)]
    assert (book.best_ask, book.best_bid) == (Level(9_850, 50_00), None)
    assert await client.book("L1/USD") is book
    with pytest.raises(ApiError, match="unknown_loan"):
        await client.book("L9/USD")


async def test_a_book_is_kept_to_one_depth_until_it_is_forgotten(stack: Stack, client: MarketClient) -> None:
    book = await client.book("L1/USD")
    with pytest.raises(ValueError, match="a depth of 10"):
        await client.book("L1/USD", depth=25)
    await client.forget(book)
    with pytest.raises(Exception, match="not kept any more"):
        await anext(book.updates())
    await stack.do(sell("ORIG", 9_900, 100_00))
    deeper = await client.book("L1/USD", depth=25)
    assert (deeper.depth, len(deeper.asks), len(book.asks)) == (25, 1, 0)


async def test_a_book_goes_on_where_it_was_after_a_lost_connection(stack: Stack, client: MarketClient) -> None:
    book, events = await client.book("L1/USD"), client.events()
    await stack.do(sell("ORIG", 9_900, 100_00))
    await until(book, lambda book: book.asks)
    client.reconnect()
    await until(book, lambda book: not book.is_live)
    await stack.do(sell("ORIG", 9_850, 50_00))
    await until(book, lambda book: book.is_live and len(book.asks) == 2)
    assert isinstance(await anext(events), Lost)
    assert isinstance(await anext(events), Connected)
    assert (client.connections, book.resyncs) == (2, 0)


async def test_a_book_that_went_wrong_is_asked_for_again(stack: Stack, client: MarketClient) -> None:
    book = await client.book("L1/USD")
    await stack.do(sell("ORIG", 9_900, 100_00))
    await until(book, lambda book: book.asks)
    book._asks[9_800] = 1
    await stack.do(sell("ORIG", 9_850, 50_00))
    await until(book, lambda book: book.resyncs == 1 and book.is_live)
    assert book.asks == [Level(9_850, 50_00), Level(9_900, 100_00)]
    assert client.connections == 1


async def test_executions_come_once_each_through_lost_connections(stack: Stack, client: MarketClient) -> None:
    executions = client.executions(from_seq=0)
    placed = await client.add_order(**OFFER)
    report = await next_report(executions)
    assert [(row["order_id"], row["exec_type"]) for row in report.rows] == [(placed["order_id"], "new")]
    client.reconnect()
    await stack.do(sell("ORIG", 9_950, 50_00))
    await client.cancel_order(order_id=placed["order_id"])
    reports = [report, *[await next_report(executions) for _ in range(2)]]
    assert [report.sequence for report in reports] == [1, 2, 3]
    assert [report.rows[0]["exec_type"] for report in reports] == ["new", "new", "canceled"]
    behind = client.executions(from_seq=1)
    assert [(await next_report(behind)).sequence for _ in range(2)] == [2, 3]
    snapshot = await next_report(client.executions())
    assert snapshot.is_snapshot
    assert [row["limit_price"] for row in snapshot.rows] == ["99.50"]


async def test_every_reader_of_executions_hears_each_one_once(stack: Stack, client: MarketClient) -> None:
    early = client.executions()
    assert (await next_report(early)).is_snapshot
    await stack.do(sell("ORIG", 9_950, 50_00))
    late = client.executions(from_seq=0)
    assert (await next_report(late)).sequence == 1
    await stack.do(sell("ORIG", 9_960, 50_00))
    assert [(await next_report(early)).sequence for _ in range(2)] == [1, 2]
    assert (await next_report(late)).sequence == 2


async def test_a_number_that_the_service_does_not_know_is_refused(client: MarketClient) -> None:
    with pytest.raises(ApiError, match="invalid_arguments"):
        await next_report(client.executions(from_seq=5))


async def test_a_rebuilt_market_tells_its_new_epoch(stack: Stack, client: MarketClient) -> None:
    book, events, before = await client.book("L1/USD"), client.events(), client.epoch
    await stack.cut_engine_off()
    async with asyncio.timeout(PATIENCE_S):
        changed = await anext(events)
    assert isinstance(changed, EpochChanged)
    assert (changed.before, changed.now) == (before, client.epoch)
    await until(book, lambda book: book.epoch == changed.now)


async def test_streams_begin_again_after_a_lost_connection(stack: Stack, client: MarketClient) -> None:
    prices = await client.subscribe("bbo", ["L1/USD", "L2/USD"])
    first = [await anext(prices) for _ in range(2)]
    assert {message["type"] for message in first} == {"snapshot"}
    client.reconnect()
    async with asyncio.timeout(PATIENCE_S):
        again = [await anext(prices) for _ in range(2)]
    assert {message["data"][0]["symbol"] for message in again} == {"L1/USD", "L2/USD"}
    await stack.do(sell("ORIG", 9_900, 100_00, loan_id="L2"))
    assert (await anext(prices))["data"][0]["ask"] == "99.00"
    await client.unsubscribe(prices)
    with pytest.raises(StopAsyncIteration):
        await anext(prices)


async def test_a_board_is_told_to_who_looks_at_it(stack: Stack, client: MarketClient) -> None:
    dear, cheap = [await client.subscribe("board", min_price=low, max_price=high) for low, high in ((98, 99), (90, 91))]
    for board in (dear, cheap):
        assert (await anext(board))["data"] == []
    await stack.do(sell("ORIG", 9_850, 100_00), sell("ORIG", 9_050, 100_00, loan_id="L2"))
    async with asyncio.timeout(PATIENCE_S):
        assert [row["loan_id"] for row in (await anext(dear))["data"]] == ["L1"]
        assert [row["loan_id"] for row in (await anext(cheap))["data"]] == ["L2"]


async def test_a_key_that_is_refused_ends_it(stack: Stack, key: ApiKey) -> None:
    with pytest.raises(ApiError, match="auth_invalid_key"):
        async with MarketClient(stack.url, ApiKey("ak_nobody", key.secret), backoff=SOON):
            pass


async def test_a_closed_client_lets_its_readers_go(stack: Stack, key: ApiKey) -> None:
    async with MarketClient(stack.url, key, backoff=SOON) as client:
        book, events = await client.book("L1/USD"), client.events()
        waiting = asyncio.create_task(next_report(client.executions(from_seq=0)))
        await client.ping()
    for reader in (waiting, anext(book.updates())):
        with pytest.raises(Exception, match="the client is closed"):
            await reader
    assert [event async for event in events] == []
    with pytest.raises(Exception, match="the client is closed"):
        await client.add_order(**OFFER)


async def test_it_keeps_up_with_a_busy_market_while_it_is_cut_off_again_and_again(stack: Stack) -> None:
    traders = Traders(stack, seed=3)
    await traders.open()
    async with MarketClient(stack.url, await stack.key("A"), backoff=SOON) as client:
        books = [await client.book("L1/USD"), await client.book("L2/USD", depth=25)]
        executions, heard = client.executions(from_seq=0), []

        async def listen() -> None:
            async for report in executions:
                heard.append(report.sequence)

        listening = asyncio.create_task(listen())
        for _ in range(10):
            client.reconnect()
            await traders.trade(40)
        last = stack.views.account("A").exec_seq
        async with asyncio.timeout(PATIENCE_S):
            while not heard or heard[-1] < last:
                await asyncio.sleep(0.01)
        await client.ping()
        listening.cancel()
    assert heard == list(range(1, last + 1))
    for book in books:
        truth = stack.views.loan_of_symbol(book.symbol).book.view(book.depth).snapshot()
        assert (book.seq, book.resyncs) == (truth.seq, 0)
        assert (book.bids, book.asks) == (list(truth.bids), list(truth.asks))


@pytest.mark.parametrize("code", [1001, 1012, 4008])
async def test_a_service_that_says_goodbye_is_come_back_to(stack: Stack, client: MarketClient, code: int) -> None:
    book, events = await client.book("L1/USD"), client.events()
    stack.hub.close_all(code, "bye")
    async with asyncio.timeout(PATIENCE_S):
        assert await anext(events) == Lost(code)
        assert isinstance(await anext(events), Connected)
    assert (book.is_live, client.connections) == (True, 2)


async def test_a_revoked_key_ends_the_client(stack: Stack, client: MarketClient, key: ApiKey) -> None:
    executions, events = client.executions(from_seq=0), client.events()
    waiting = asyncio.create_task(next_report(executions))
    await client.ping()
    await stack.keys.revoke(key.key)
    async with asyncio.timeout(PATIENCE_S):
        assert await anext(events) == Lost(4001)
        with pytest.raises(ApiError, match="auth_invalid_key"):
            await waiting
    with pytest.raises(ApiError, match="auth_invalid_key"):
        await client.ping()
