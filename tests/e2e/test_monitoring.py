"""What processes say to those who watch over them: readiness that a load balancer can trust, metrics by convention."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.client import Client
from tests.e2e.stack import Stack
from tests.e2e.topology import order, placed, prepare, topology
from tests.patience import PATIENCE_S
from tests.redis_server import RedisServer


async def answer(url: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status, await response.json()


async def until(url: str, holds: Callable[[int, dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask until the answer is as wanted; return its body."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status, body = await answer(url)
            if holds(status, body):
                return body
            await asyncio.sleep(0.05)


async def metrics(url: str) -> dict[str, float]:
    """Return the samples of a process, by name; labels in braces as they are written, without quotes."""
    async with aiohttp.ClientSession() as http, http.get(url + "/metrics") as response:
        text = await response.text()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        sample.name + "".join(f"{{{name}={value}}}" for name, value in sample.labels.items()): sample.value
        for sample in samples
    }


async def lint(url: str) -> None:
    """Hold the names, units and help texts of a process against Prometheus's own rules."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on this machine (Debian's package prometheus has it)")
    async with aiohttp.ClientSession() as http, http.get(url + "/metrics") as response:
        text = await response.read()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


async def test_readiness_flips_while_the_engine_is_away(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with topology(tmp_path, database, redis_server) as market:
        engine = market.start("engine", "engine")
        async with await market.gateway("one") as one:
            ready = await until(one.url + "/readyz", lambda status, _: status == 200)
            assert ready["status"] == "ready"
            assert ready["epoch"] >= 1
            engine.signal(signal.SIGSTOP)
            away = await until(one.url + "/readyz", lambda status, _: status == 503)
            assert away == {"status": "recovering"}
            assert (await answer(one.url + "/healthz"))[0] == 200  # it is not the gateway that needs a restart
            engine.signal(signal.SIGCONT)
            assert await until(one.url + "/readyz", lambda status, _: status == 200) == ready


async def test_the_standby_is_alive_and_gets_ready_when_it_takes_over(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    port = ("--metrics-port", "0")
    async with topology(tmp_path, database, redis_server) as market:
        leader = market.start("engine", "engine", *port)
        async with await market.gateway("one") as one:
            keys = await prepare(one)
            standby = market.start("standby", "standby", *port)
            leading, waiting = await leader.monitor(), await standby.monitor()
            await standby.says("standing_by")
            assert await answer(waiting + "/healthz") == (200, {"status": "alive"})
            assert await answer(waiting + "/readyz") == (503, {"status": "starting"})
            assert (await answer(leading + "/readyz"))[0] == 200
            for url in (leading, waiting, one.url):
                await lint(url)
            shown = await metrics(leading)
            epoch = shown["market_epoch{partition=0}"]
            held = "market_lease_held{partition=0}"
            assert (shown[held], (await metrics(waiting))[held]) == (1, 0)
            assert shown["market_commit_seconds_count{partition=0}"] >= 4
            assert shown["market_inbox_commands{partition=0}"] == shown["market_unsent_messages{partition=0}"] == 0
            assert not [name for name in shown if name.startswith("gateway_")]
            assert shown["process_resident_memory_bytes"] > 1 << 20

            leader.signal(signal.SIGKILL)
            await until(waiting + "/readyz", lambda status, _: status == 200)
            await until(one.url + "/readyz", lambda status, body: status == 200 and body["epoch"] > epoch)
            seen = await metrics(one.url)
            assert seen["gateway_epoch{partition=0}"] == (await metrics(waiting))["market_epoch{partition=0}"] > epoch
            assert seen["gateway_engine_online"] == 1
            assert seen["gateway_engine_quiet_seconds{partition=0}"] < 5
            async with Client(one.url, keys["ORIG"]) as seller:
                await placed(seller, order("sell", "s-1"))
            seen = await metrics(one.url)
            assert seen["market_open_orders"] == 1
            assert seen["market_orders_total{outcome=accepted}"] >= 1
            assert seen["gateway_feed_lag_seconds_count{partition=0}"] >= 1


async def test_readiness_says_that_the_database_is_away(stack: Stack) -> None:
    assert (await answer(stack.url + "/readyz"))[0] == 200
    await stack.pool.close()
    assert await answer(stack.url + "/readyz") == (503, {"status": "no database"})


async def test_unusual_methods_make_no_series_of_their_own(stack: Stack) -> None:
    async with aiohttp.ClientSession() as http:
        for method in ("PROPFIND", "MKCOL", "PURGE"):
            async with http.request(method, stack.url + "/v1/time") as response:
                assert response.status == 405
    shown = await metrics(stack.url)
    assert shown["gateway_request_seconds_count{method=other}{status=405}"] == 3
    assert not [name for name in shown if "PURGE" in name]
