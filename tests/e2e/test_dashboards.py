"""A real Prometheus with our own configuration scrapes a real market; every panel and alert is asked what it shows."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ruamel.yaml import YAML

from gateway.client import ApiError, Client
from market.settlement.embedded import EmbeddedPostgres
from tests.cut_market import loan_at
from tests.e2e.topology import LOAN, Process, client, order, placed, prepare, topology
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.redis_server import RedisServer
from tests.replica import running_replica

OPERATIONS = Path(__file__).resolve().parents[2] / "operations"
LOANS = (loan_at(0), loan_at(1))


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression of every panel, with its title, as Grafana would send it."""
    for path in sorted((OPERATIONS / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"].replace("$__rate_interval", "1m")


@contextmanager
def running_prometheus(folder: Path, targets: dict[str, list[str]]) -> Iterator[str]:
    """Prometheus with the project's configuration, but for where the processes are and how often it asks."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus on this machine (Debian's package prometheus has it)")
    yaml = YAML()
    config = yaml.load(OPERATIONS / "prometheus.yml")
    config["global"] = {"scrape_interval": "200ms", "evaluation_interval": "200ms"}
    assert {job["job_name"] for job in config["scrape_configs"]} == set(targets)
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": targets[job["job_name"]]}]
    yaml.dump(config, folder / "prometheus.yml")
    shutil.copy(OPERATIONS / "alerts.yml", folder)
    address = f"127.0.0.1:{free_port()}"
    flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([program, *flags, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


class Prometheus:
    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self._url = http, url

    async def get(self, path: str, **query: str) -> Any:
        async with self._http.get(f"{self._url}/api/v1/{path}", params=query) as response:
            body = await response.json()
        assert body["status"] == "success", body
        return body["data"]

    async def query(self, expression: str) -> list[Any]:
        found: list[Any] = (await self.get("query", query=expression))["result"]
        return found

    async def until(self, expression: str, what: str = "") -> None:
        """Wait until the expression has a result, and only numbers in it: of both partitions if it tells them apart."""
        found: list[Any] = []
        wanted = {"0", "1"} if re.search(r"by \([^)]*partition", expression) else set()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (
                    not found
                    or any(series["value"][1] == "NaN" for series in found)
                    or not wanted <= {series["metric"].get("partition") for series in found}
                ):
                    await asyncio.sleep(0.05)
                    with suppress(aiohttp.ClientError):  # it is starting
                        found = await self.query(expression)
        except TimeoutError as e:
            raise AssertionError(f"{what or 'nothing'}: {expression} gave {found}") from e


@asynccontextmanager
async def busy_market(tmp_path: Path, redis: RedisServer) -> AsyncIterator[tuple[dict[str, list[str]], Process]]:
    """Two engines, two gateways, a copy of the database; orders, refusals, a socket. Yields targets and an engine."""
    with (
        EmbeddedPostgres(tmp_path / "first") as first,
        running_replica(first.dsn, tmp_path / "copy"),
    ):
        async with topology(tmp_path, first.dsn, redis, partitions=2) as market:
            watched = ("--metrics-port", "0", "--audit-every-s", "0.2")
            early = market.start("gateway", "one")  # before there is a table or a role in the database
            engines = [market.start("engine", f"engine-{k}", *watched, partition=k) for k in range(2)]
            one = client(await early.ready())
            other = await market.gateway("other")
            async with one, other, await other.socket(), asyncio.TaskGroup() as tasks:
                keys = await prepare(one)
                for loan_id in {*LOANS} - {LOAN["loan_id"]}:
                    await one.post("/v1/admin/loans", {**LOAN, "loan_id": loan_id})
                trading = tasks.create_task(trade(Client(one.url, keys["ORIG"]), Client(other.url, keys["BUYER"])))
                targets = {
                    "engine": [host(await engine.monitor()) for engine in engines],
                    "gateway": [host(one.url), host(other.url)],
                }
                yield targets, engines[1]
                trading.cancel()


def host(url: str) -> str:
    return url.removeprefix("http://")


async def trade(seller: Client, buyer: Client) -> None:
    """Orders that rest, some that trade, some that are refused, until cancelled."""
    async with seller, buyer:
        for n in range(10_000):
            for loan_id in LOANS:
                await placed(seller, order("sell", f"s-{loan_id}-{n}", qty="2.00", loan_id=loan_id))
                await placed(buyer, order("buy", f"b-{loan_id}-{n}", qty="1.00", loan_id=loan_id))
            with pytest.raises(ApiError, match="funds"):
                await buyer.post("/v1/orders", order("buy", f"x-{n}", qty="1000000.00", loan_id=LOANS[0]))
            await asyncio.sleep(0.05)


async def test_every_panel_shows_data_and_no_alert_fires(tmp_path: Path, redis_server: RedisServer) -> None:
    async with busy_market(tmp_path, redis_server) as (targets, engine), aiohttp.ClientSession() as http:
        with running_prometheus(tmp_path, targets) as url:
            prometheus = Prometheus(http, url)
            await prometheus.until("count(up == 1) == 4")
            await prometheus.until("count(market_reconciled_timestamp_seconds > 0) == 2")
            await prometheus.until("market_replication_standbys == 1")
            for title, expression in expressions():
                await prometheus.until(expression, title)

            names = set(await prometheus.get("label/__name__/values"))
            rules = [rule for group in (await prometheus.get("rules"))["groups"] for rule in group["rules"]]
            assert len(rules) >= 10
            for rule in rules:
                asked = set(re.findall(r"\b(?:market|gateway)_\w+", rule["query"]))
                assert asked <= names, f"{rule['name']} asks for what no process says"
                assert rule["health"] == "ok", rule
            await prometheus.until("absent(ALERTS)", "an alert is about to fire")

            engine.signal(signal.SIGKILL)
            await prometheus.until("count(gateway_partitions_offline == 1) == 2", "the other partition is there")
            await prometheus.until('count(ALERTS{alertname="PartitionAway"}) == 2', "each gateway misses one")
            await prometheus.until('count(ALERTS{alertname="LeaseLost"}) == 1', "one partition has no writer")
