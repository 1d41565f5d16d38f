"""Two gateways behind a real nginx with the project's own configuration: REST, WebSocket, addresses, failures, TLS."""

import asyncio
import re
import signal
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from gateway.client import ApiKey, Client
from gateway.reads.board import LOANS_MAX
from tests.e2e.test_monitoring import metrics
from tests.e2e.topology import Process, Topology, client, order, placed, prepare, topology
from tests.nginx import nginx_program, running_nginx
from tests.redis_server import RedisServer

TRUSTED = ("--trusted-proxies", "127.0.0.0/8")
OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


@dataclass
class Pair:
    """Two gateways, the admin's client of each, and the folder of the test."""

    processes: list[Process]
    admins: list[Client]
    folder: Path
    market: Topology

    @property
    def hosts(self) -> list[str]:
        return [host_of(admin) for admin in self.admins]


def host_of(admin: Client) -> str:
    return admin.url.removeprefix("http://")


@pytest.fixture
async def pair(tmp_path: Path, database: str, redis_server: RedisServer) -> AsyncIterator[Pair]:
    nginx_program()
    async with topology(tmp_path, database, redis_server) as market:
        market.start("engine", "engine")
        processes = [market.start("gateway", name, *TRUSTED) for name in ("one", "two")]
        admins = [client(await process.ready()) for process in processes]
        async with admins[0], admins[1]:
            yield Pair(processes, admins, tmp_path, market)


async def served(pair: Pair, name: str) -> list[float]:
    """Return one figure of both gateways."""
    return [(await metrics(admin.url)).get(name, 0.0) for admin in pair.admins]


async def test_rest_and_sockets_are_spread_over_both(pair: Pair) -> None:
    keys = await prepare(*pair.admins)
    with running_nginx(pair.folder / "nginx", pair.hosts) as address:
        async with (
            Client(f"http://{address}", keys["ORIG"]) as seller,
            Client(f"http://{address}", keys["BUYER"]) as buyer,
        ):
            for n in range(10):
                await placed(seller, order("sell", f"s-{n}", qty="10.00"))
            many = ",".join(f"{n:032}" for n in range(LOANS_MAX - 1))
            assert [loan["loan_id"] for loan in (await buyer.get(f"/v1/loans?loan_id={many},L1"))["items"]] == ["L1"]
            sockets = [await buyer.socket() for _ in range(4)]
            assert await served(pair, "gateway_sockets") == [2, 2]
            for socket in sockets:
                await socket.login()
                bought = await socket.call(
                    "add_order",
                    symbol="L1/CNY",
                    side="buy",
                    order_type="limit",
                    limit_price="97.00",
                    order_qty="1.00",
                )
                assert bought["order_id"]
            positions = await buyer.get("/v1/positions")
            assert [item["total"] for item in positions["items"]] == ["4.00"]
            accepted = await served(pair, "market_orders_total{outcome=accepted}")
            assert sum(accepted) == 14
            assert min(accepted) >= 2
            for socket in sockets:
                await socket.close()
        async with aiohttp.ClientSession() as http, http.get(f"http://{address}/metrics") as answer:
            assert answer.status == 404


async def test_gateways_know_the_client_behind_it_and_believe_nobody_else(pair: Pair) -> None:
    await prepare(*pair.admins)
    made = await pair.admins[0].post(
        "/v1/admin/accounts/BUYER/api-keys", {"scopes": ["read"], "ip_allow": ["127.0.0.9/32"]}
    )
    key = ApiKey(made["key"], made["secret"])
    with running_nginx(pair.folder / "nginx", pair.hosts) as address:

        async def ask(source: str, **headers: str) -> int:
            connector = aiohttp.TCPConnector(local_addr=(source, 0))
            signed = key.rest_headers(time.time_ns() // 1_000, "GET", "/v1/balances", b"")
            async with (
                aiohttp.ClientSession(connector=connector, headers=headers) as http,
                http.get(f"http://{address}/v1/balances", headers=signed) as answer,
            ):
                return answer.status

        assert await ask("127.0.0.9") == 200
        assert await ask("127.0.0.8") == 403
        assert await ask("127.0.0.8", **{"X-Forwarded-For": "127.0.0.9"}) == 403


async def test_a_gateway_that_dies_is_not_noticed_by_those_who_ask(pair: Pair) -> None:
    keys = await prepare(*pair.admins)
    with running_nginx(pair.folder / "nginx", pair.hosts) as address:
        async with Client(f"http://{address}", keys["ORIG"]) as seller:
            await seller.get("/v1/balances")
            pair.processes[0].signal(signal.SIGKILL)
            await pair.processes[0].ends()
            for n in range(20):
                assert (await seller.get("/v1/status"))["mode"] == "open"
                await placed(seller, order("sell", f"s-{n}", qty="1.00"))
            async with await seller.socket() as socket:
                assert await socket.login()
            assert await seller.get("/v1/orders/by-client-id/s-19")


async def test_the_documented_lines_terminate_tls(pair: Pair) -> None:
    block = re.search(r"```nginx\n( *listen .*?)```", OPERATIONS.read_text(), re.DOTALL)
    assert block is not None
    certificate, key = pair.folder / "certificate.pem", pair.folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, *files],
        check=True,
        capture_output=True,
    )
    lines = block[1].strip().replace("/run/secrets/tls_certificate", str(certificate))
    lines = lines.replace("/run/secrets/tls_key", str(key))
    assert lines.startswith("listen 8443 ssl;")
    trusting = ssl.create_default_context(cafile=str(certificate))
    with running_nginx(pair.folder / "nginx", pair.hosts, tls=lines.removeprefix("listen 8443")) as address:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as http:
            secure = f"localhost:{address.partition(':')[2]}"
            async with http.get(f"https://{secure}/v1/status") as answer:
                assert answer.status == 200
                assert "max-age" in answer.headers["Strict-Transport-Security"]
            async with http.ws_connect(f"wss://{secure}/ws/v2") as socket:
                greeting = await asyncio.wait_for(socket.receive_json(), 10)
                assert greeting["channel"] == "status"
