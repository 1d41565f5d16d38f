"""A market cut in two, as processes: two engines and their standbys over one database, gateways that join them."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from gateway.client import ApiError, ApiKey, Client, MarketClient
from gateway.rest.routes import ROUTES
from market.partitions import home_of, partition_of, schema_of
from market.settlement.check import check
from tests.cut_market import loan_at
from tests.e2e.rest import rest
from tests.e2e.sockets import connected
from tests.e2e.topology import LOAN, Process, Topology, order, placed, prepare, topology
from tests.patience import PATIENCE_S
from tests.redis_cluster import RedisCluster
from tests.redis_server import RedisServer
from tests.service import debt_market

HERE, THERE = loan_at(0), loan_at(1)
NOT_FOR_A_KEY = {"/v1/session", "/v1/sessions"}  # they are of browsers
ASKED = {"/v1/loans/{loan_id}/quote": "?side=buy&qty=10.00", "/v1/loans/{loan_id}/candles": "?interval=1"}
Trading = tuple[Topology, list[Process], Client, dict[str, ApiKey]]


@asynccontextmanager
async def cut_in_two(
    tmp_path: Path, dsn: str, redis: RedisServer | RedisCluster, *flags: str
) -> AsyncIterator[Trading]:
    """Both engines, a gateway, an originator with a loan in each partition, and a buyer whose cash is in the first."""
    async with AsyncExitStack() as stack:
        market = await stack.enter_async_context(topology(tmp_path, dsn, redis, partitions=2))
        engines = [market.start("engine", f"engine-{k}", partition=k) for k in range(2)]
        for engine in engines:
            await engine.says("engine_online")
        admin = await stack.enter_async_context(await market.gateway("one", *flags))
        keys = await prepare(admin)
        for loan_id in {HERE, THERE} - {LOAN["loan_id"]}:
            await admin.post("/v1/admin/loans", {**LOAN, "loan_id": loan_id})
        yield market, engines, admin, keys


async def test_one_accounts_cash_buys_in_both_partitions_and_every_view_shows_one_market(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with (
        cut_in_two(tmp_path, database, redis_server) as (market, _, admin, keys),
        await market.gateway("two") as two,
    ):
        async with Client(admin.url, keys["ORIG"]) as seller, Client(two.url, keys["BUYER"]) as buyer:
            for loan_id in (HERE, THERE):
                await seller.post("/v1/orders", order("sell", f"s-{loan_id}", "1000.00", loan_id=loan_id))
                bought = await placed(buyer, order("buy", f"b-{loan_id}", "1000.00", loan_id=loan_id))
                assert bought["order_status"] == "filled"
                number = int(bought["order_id"].removeprefix("O-"))
                assert partition_of(number) == home_of(loan_id, 2)
                assert (await buyer.get(f"/v1/orders/{bought['order_id']}"))["cum_qty"] == "1000.00"
            await until(lambda: _cash(buyer), lambda cash: cash["total"] < "3100")
            [cash] = (await buyer.get("/v1/balances"))["cash"]
            rows = (await buyer.get("/v1/statement?limit=500"))["items"]
            assert sum(Decimal(row["amount"]) for row in rows if row["unit"] == "cash") == Decimal(cash["total"])
            assert {row["leg"] for row in rows} & {"transit"} == set()
            assert {each["loan_id"] for each in (await buyer.get("/v1/positions"))["items"]} == {HERE, THERE}
            assert len((await buyer.get("/v1/trades"))["items"]) == 2
            names = [f"o-{n}" for n in range(5)]
            for n, name in enumerate(names):
                await placed(buyer, order("buy", name, "10.00", "50.00", loan_id=(HERE, THERE)[n % 2]))
            shown = await pages(buyer, "/v1/orders?limit=2")
            assert [each["cl_ord_id"] for each in shown] == names[::-1], "newest first, wherever it is"
            assert (await buyer.post("/v1/orders/cancel-all", {}))["count"] == 5
            fills = await pages(buyer, "/v1/executions")
            assert [(fill["partition"], fill["symbol"]) for fill in fills] == [
                (0, f"{HERE}/CNY"),
                (1, f"{THERE}/CNY"),
            ]
            with pytest.raises(ApiError) as refused:
                await placed(buyer, order("buy", "too-much", "9000.00", loan_id=THERE))
            assert refused.value.body["have"] == cash["available"]
            statistics = await admin.get("/v1/statistics")
            assert [row["windows"][0]["trades"] for row in statistics["items"]] == [2]
            await sums_up(admin)
        assert (await admin.get("/readyz"))["partitions"] == ["online", "online"]
        status = await admin.get("/v1/status")
        assert [each["partition"] for each in status["partitions"]] == [0, 1]
    await ledgers_agree(database)


async def test_executions_of_both_partitions_come_over_one_socket_and_resume_by_two_numbers(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with cut_in_two(tmp_path, database, redis_server) as (_, _, admin, keys):
        async with MarketClient(admin.url, keys["ORIG"]) as seller:
            reports = seller.executions(from_seq=0)
            for n, loan_id in enumerate((HERE, THERE, THERE)):
                await seller.add_order(**_params(loan_id, f"s-{n}"))
            heard = {(report.partition, report.sequence) for report in [await anext(reports) for _ in range(3)]}
            assert heard == {(0, 1), (1, 1), (1, 2)}
        async with MarketClient(admin.url, keys["ORIG"]) as again:
            for wrong in ({"from_seq": 2}, {"from_seqs": {"0": 2}}, {"from_seqs": {"2": 0}}, {"from_seqs": {"x": 0}}):
                with pytest.raises(ApiError) as refused:
                    await again.call("subscribe", channel="executions", **wrong)
                assert refused.value.code == "invalid_arguments"
            reports = again.executions(from_seqs={0: 1, 1: 1})
            first = await anext(reports)
            assert (first.partition, first.sequence) == (1, 2)
            await again.add_order(**_params(HERE, "s-3"))
            second = await anext(reports)
            assert (second.partition, second.sequence, second.rows[0]["cl_ord_id"]) == (0, 2, "s-3")
            snapshots = again.executions()
            found = [await anext(snapshots) for _ in range(2)]
            assert {report.partition: len(report.rows) for report in found} == {0: 2, 1: 2}


async def test_every_question_and_every_channel_is_answered_as_the_contract_says(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with AsyncExitStack() as stack:
        _, _, admin, keys = await stack.enter_async_context(cut_in_two(tmp_path, database, redis_server))
        ours = await stack.enter_async_context(rest(admin.url, keys["BUYER"]))
        seller, operator, names = ours.of(keys["ORIG"]), ours.of(admin.key), []
        for loan_id in (HERE, THERE):
            await seller.post("/v1/orders", order("sell", f"s-{loan_id}", "1000.00", loan_id=loan_id))
            placed = await ours.post("/v1/orders", order("buy", f"b-{loan_id}", "100.00", loan_id=loan_id))
            names.append({"loan_id": loan_id, "order_id": placed.body["order_id"], "cid": f"b-{loan_id}"})
        paths = {route.path for route in ROUTES if route.method == "GET" and not route.path.startswith("/docs")}
        asked = 0
        for path in sorted(paths - NOT_FOR_A_KEY):
            for name in names:
                filled = path.format(**name, account_id="BUYER", name="open", key="")
                told = await (operator if "/admin/" in path else ours).get(filled + ASKED.get(path, ""))
                assert told.status == 200, (filled, told.body)
                asked += 1
        assert asked > 50
        links = [(await ours.get(f"/v1/loans/{each}/assignments")).body["items"][-1] for each in (HERE, THERE)]
        mine = [(await ours.get(f"/v1/loans/{each}/party")).body["party"] for each in (HERE, THERE)]
        assert [link["assignee"] for link in links] == mine
        socket = await stack.enter_async_context(connected(admin.url.replace("http", "ws") + "/ws/v2", keys["BUYER"]))
        symbols = [f"{loan_id}/CNY" for loan_id in (HERE, THERE)]
        for channel in ("book", "bbo", "ticker", "trade", "ohlc", "instrument"):
            assert (await socket.call("subscribe", channel=channel, symbol=symbols))["success"]
        for channel in ("status", "board", "executions", "balances", "quotes"):
            assert (await socket.call("subscribe", channel=channel))["success"]
        for loan_id in (HERE, THERE):
            await ours.post("/v1/orders", order("buy", f"more-{loan_id}", "100.00", loan_id=loan_id))
            for channel in ("executions", "trade", "book", "balances"):
                message = await socket.push(channel, "update")
                assert channel != "trade" or message["data"][0]["symbol"] == f"{loan_id}/CNY"


async def test_while_one_engine_is_dead_the_other_trades_and_afterwards_nothing_is_missing(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with AsyncExitStack() as stack:
        market, engines, admin, keys = await stack.enter_async_context(cut_in_two(tmp_path, database, redis_server))
        async with Client(admin.url, keys["ORIG"]) as seller, Client(admin.url, keys["BUYER"]) as buyer:
            await placed(seller, order("sell", "before", "1000.00", loan_id=THERE))
            await placed(buyer, order("buy", "in-time", "10.00", loan_id=THERE))
            engines[1].signal(signal.SIGKILL)
            await until(lambda: admin.get("/readyz"), lambda ready: ready["partitions"] == ["online", "recovering"])
            for n in range(10):
                sold = await seller.post("/v1/orders", order("sell", f"on-{n}", "10.00", loan_id=HERE))
                assert sold["order_status"] == "new"
            with pytest.raises(ApiError) as refused:
                await buyer.post("/v1/orders", order("buy", "early", "10.00", loan_id=THERE))
            assert (refused.value.code, refused.value.outcome) == ("unavailable", "not_executed")
            await admin.post("/v1/admin/accounts", {"account_id": "LATE", "kind": "investor", "name": "late"})
            second = await stack.enter_async_context(await market.gateway("second", "--reconnect-s", "1"))
            standby = market.start("standby", "standby", partition=1)
            bought = await placed(buyer, order("buy", "late", "990.00", loan_id=THERE))
            assert bought["order_status"] == "filled"
            await standby.says("engine_online")
            for gateway in (admin, second):  # the second one had heard nothing of that loan
                await until(lambda each=gateway: _volume(each), lambda volume: volume == "1000.00")  # type: ignore[misc]
            await _buys_there(admin, "LATE")
            async with Redis(unix_socket_path=str(redis_server.socket)) as redis:
                await redis.flushall()
            for loan_id in (HERE, THERE):
                await placed(seller, order("sell", f"after-{loan_id}", "10.00", "98.00", loan_id=loan_id))
            book = await admin.get(f"/v1/loans/{HERE}/book")
            assert book["asks"] == [{"price": "97.00", "qty": "100.00"}, {"price": "98.00", "qty": "10.00"}]
            await sums_up(admin)
    await ledgers_agree(database)


async def test_an_engine_that_is_killed_and_a_redis_that_forgets_under_load_lose_nothing_that_was_acknowledged(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    told: dict[str, dict[str, Any]] = {}
    async with AsyncExitStack() as stack:
        market, engines, admin, keys = await stack.enter_async_context(cut_in_two(tmp_path, database, redis_server))
        standby = market.start("standby", "standby", partition=1)
        two = await stack.enter_async_context(await market.gateway("two"))
        await standby.says("warm_copy_read")
        seller = await stack.enter_async_context(Client(admin.url, keys["ORIG"]))
        buyers = [await stack.enter_async_context(Client(url, keys["BUYER"])) for url in (admin.url, two.url)]
        is_loading = True

        async def load(client: Client, side: str, name: str, loan_id: str) -> None:
            count = 0
            while is_loading:
                wanted = order(side, f"{name}-{count}", "1.00", loan_id=loan_id)
                told[f"{name}-{count}"] = await placed(client, wanted)
                count += 1

        loads = [
            asyncio.create_task(load(client, side, f"{side}-{loan_id}-{n}", loan_id))
            for loan_id in (HERE, THERE)
            for n, (client, side) in enumerate([(seller, "sell"), *((buyer, "buy") for buyer in buyers)])
        ]
        await _more(told, 60)
        engines[1].signal(signal.SIGKILL)
        await standby.says("engine_online")
        await _more(told, 60)
        async with Redis(unix_socket_path=str(redis_server.socket)) as redis:
            await redis.flushall()
        await _more(told, 60)
        is_loading = False
        await asyncio.gather(*loads)
        assert len({each["order_id"] for each in told.values()}) == len(told)
        for client, account in ((seller, "sell"), (buyers[0], "buy")):
            mine = {each["cl_ord_id"] for each in await pages(client, "/v1/orders?status=all&limit=500")}
            assert mine == {name for name in told if name.startswith(account)}
        await sums_up(admin)
    await ledgers_agree(database)


async def _more(told: dict[str, Any], count: int) -> None:
    wanted = len(told) + count
    async with asyncio.timeout(PATIENCE_S):
        while len(told) < wanted:
            await asyncio.sleep(0.05)


async def test_a_withdrawal_brings_back_what_is_in_the_other_partition(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with AsyncExitStack() as stack:
        _, _, admin, keys = await stack.enter_async_context(cut_in_two(tmp_path, database, redis_server))
        async with Client(admin.url, keys["BUYER"]) as buyer:
            resting = await placed(buyer, order("buy", "b", "1000.00", "50.00", loan_id=THERE))
            await buyer.request("DELETE", f"/v1/orders/{resting['order_id']}")
            body = {"account_id": "BUYER", "currency": "CNY", "amount": "5000.00", "custody_ref": "all"}
            await admin.post("/v1/admin/withdrawals", body)
            await until(lambda: _cash(buyer), lambda cash: cash["total"] == "0.00")
            await sums_up(admin)
    await ledgers_agree(database)


def _service(admin: Client, file: Path, events: dict[str, list[str]]) -> tuple[int, dict[str, str], str]:
    """Book events of loans; return the exit code, what became of each, and the reasons."""
    rows = [f"{event_id},{','.join(event)}" for event_id, event in events.items()]
    file.write_text("\n".join(["event_id,loan_id,type,value_date,amount", *rows]))
    done = debt_market("service", str(file), "--url", admin.url, "--key", str(admin.key), "--json")
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)["events"]
    reasons = " ".join(each["reason"] for each in told if "reason" in each)
    return done.returncode, {each["event_id"]: each["outcome"] for each in told}, reasons


async def _booked(dsn: str) -> list[list[str]]:
    """Return the servicing events of each ledger."""
    connection = await asyncpg.connect(dsn)
    try:
        question = "SELECT array_agg(event_id ORDER BY event_id) FROM {}.servicing_event"
        return [await connection.fetchval(question.format(schema_of(k))) for k in range(2)]
    finally:
        await connection.close()


async def test_a_servicing_file_of_both_partitions_is_booked_in_a_part_for_each(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    def paid(loan_id: str, on: str = "2024-05-02") -> list[str]:
        return [loan_id, "payment", on, "50.00"]

    async with AsyncExitStack() as stack:
        market, engines, admin, _ = await stack.enter_async_context(cut_in_two(tmp_path, database, redis_server))
        file = tmp_path / "events.csv"
        good = {"a": paid(HERE), "b": paid(THERE), "c": paid(HERE), "d": paid(THERE)}
        assert _service(admin, file, good)[:2] == (0, dict.fromkeys("abcd", "booked"))
        assert _service(admin, file, good)[:2] == (0, dict.fromkeys("abcd", "duplicate"))
        assert await _booked(database) == [["a", "c"], ["b", "d"]]

        code, outcomes, reasons = _service(
            admin, file, {"e": paid(HERE), "f": paid(HERE, "2024-06-01"), "g": paid(THERE)}
        )
        assert (code, outcomes) == (1, {"e": "not_booked", "f": "refused", "g": "not_booked"}), reasons
        code, outcomes, reasons = _service(
            admin, file, {"e": paid(HERE), "g": paid(THERE), "h": paid(THERE, "2024-06-01")}
        )
        assert (code, outcomes) == (1, {"e": "booked", "g": "not_booked", "h": "refused"}), reasons
        assert await _booked(database) == [["a", "c", "e"], ["b", "d"]]

        engines[1].signal(signal.SIGKILL)
        await until(lambda: admin.get("/readyz"), lambda ready: ready["partitions"] == ["online", "recovering"])
        rest = {"e": paid(HERE), "i": paid(HERE), "g": paid(THERE), "j": paid(THERE)}
        code, outcomes, reasons = _service(admin, file, rest)
        assert (code, outcomes) == (1, {"e": "duplicate", "i": "booked", "g": "refused", "j": "refused"})
        assert "unavailable" in reasons
        await market.start("standby", "standby", partition=1).says("engine_online")
        await until(lambda: admin.get("/readyz"), lambda ready: ready["partitions"] == ["online", "online"])
        assert _service(admin, file, rest)[:2] == (
            0,
            {"e": "duplicate", "i": "duplicate", "g": "booked", "j": "booked"},
        )
        assert await _booked(database) == [["a", "c", "e", "i"], ["b", "d", "g", "j"]]
    await ledgers_agree(database)


async def _volume(gateway: Client) -> str | None:
    """Return what was traded within 24 hours in the loan of the second partition, None while it is not known."""
    async with connected(gateway.url.replace("http", "ws") + "/ws/v2") as socket:
        answer = await socket.call("subscribe", channel="ticker", symbol=[f"{THERE}/CNY"])
        if not answer["success"]:
            return None
        [row] = (await socket.push("ticker", "snapshot"))["data"]
        return str(row["volume"])


async def _buys_there(admin: Client, account_id: str) -> None:
    """Have an account that was opened meanwhile buy where nobody could be told of it."""
    made = await admin.post(f"/v1/admin/accounts/{account_id}/api-keys", {"scopes": ["read", "trade"]})
    deposit = {"account_id": account_id, "currency": "CNY", "amount": "100.00", "custody_ref": account_id}
    await admin.post("/v1/admin/deposits", deposit)
    async with Client(admin.url, ApiKey(made["key"], made["secret"])) as client:
        assert (await placed(client, order("buy", "l", "10.00", "50.00", loan_id=THERE)))["order_status"] == "new"


def _params(loan_id: str, cl_ord_id: str) -> dict[str, Any]:
    return {
        "symbol": f"{loan_id}/CNY", "side": "sell", "order_type": "limit", "limit_price": "97.00",
        "order_qty": "10.00", "cl_ord_id": cl_ord_id,
    }  # fmt: skip


async def _cash(client: Client) -> dict[str, Any]:
    [cash] = (await client.get("/v1/balances"))["cash"]
    return dict(cash)


async def pages(client: Client, path: str) -> list[dict[str, Any]]:
    found, page = [], await client.get(path)
    while page["next_cursor"]:
        found += page["items"]
        page = await client.get(f"{path}{'&' if '?' in path else '?'}cursor={page['next_cursor']}")
    return [*found, *page["items"]]


async def until(look: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds(await look()):
            await asyncio.sleep(0.05)


async def sums_up(admin: Client) -> None:
    audit = await admin.get("/v1/audit")
    assert [each["difference"] for each in audit["cash"]] == ["0.00"]
    assert audit["loans"] == {"checked": len({HERE, THERE, LOAN["loan_id"]}), "violations": []}


async def ledgers_agree(dsn: str) -> None:
    """Each ledger proves itself, and all together; what went from the first to the second is all that is moved."""
    report = await check(dsn)
    assert [each for each in report.checks if not each.ok] == []
    connection = await asyncpg.connect(dsn)
    try:
        question = "SELECT coalesce(sum(moved), 0) FROM {}.cash_line WHERE account_id = 'BUYER'"
        moved = [await connection.fetchval(question.format(schema_of(k))) for k in range(2)]
    finally:
        await connection.close()
    assert moved[0] == -moved[1]
