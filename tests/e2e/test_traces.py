"""One order seen through all processes: its spans from the gateway over the bus to the commit, its id in every log."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.client import Client
from gateway.process.otel import tracing_of
from tests.e2e.sockets import connected
from tests.e2e.stack import running_stack
from tests.e2e.topology import client, order, placed, prepare, topology
from tests.patience import PATIENCE_S
from tests.redis_server import RedisServer

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@dataclass
class Collector:
    """What takes spans over HTTP, as a real one does. spans: (service, span), as they came."""

    url: str = ""
    spans: list[tuple[str, Any]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        for resource in ExportTraceServiceRequest.FromString(await request.read()).resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.spans += [(names["service.name"], span) for scope in resource.scope_spans for span in scope.spans]
        return web.Response()

    async def of_trace(self, trace: str, count: int) -> dict[tuple[str, str], Any]:
        """Wait for the spans of a trace; return them by service and name."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = {(service, span.name): span for service, span in self.spans if span.trace_id.hex() == trace}
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.05)


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    taking, app = Collector(), web.Application()
    app.router.add_post("/v1/traces", taking.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    taking.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
    try:
        yield taking
    finally:
        await runner.cleanup()


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def test_an_order_is_one_trace_and_one_request_id_through_all_processes(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with collector() as taking, topology(tmp_path, database, redis_server) as market:
        told = ("--trace-url", taking.url, "--log-format", "json", "--log-level", "DEBUG")
        quick = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
        engine = market.start("engine", "engine", *told, **quick)
        gateway = market.start("gateway", "gateway", *told, **quick)
        async with client(await gateway.ready()) as admin:
            keys = await prepare(admin)
            body = json.dumps(order("sell", "s-1")).encode()
            async with Client(admin.url, keys["ORIG"]) as seller:
                signed = seller._signature("POST", "/v1/orders", body)
                marks = {"X-Request-Id": "r-42", "traceparent": PARENT, "Content-Type": "application/json"}
                async with (
                    aiohttp.ClientSession(headers=signed | marks) as http,
                    http.post(admin.url + "/v1/orders", data=body) as response,
                ):
                    assert response.status == 201
                    assert response.headers["X-Request-Id"] == "r-42"
                    seq = (await response.json())["engine_seq"]
                spans = await taking.of_trace(TRACE, 3)
                outer = spans["debt-market-gateway", "POST /v1/orders"]
                inner = spans["debt-market-engine", "engine PlaceOrder"]
                commit = spans["debt-market-engine", "commit"]
                assert outer.parent_span_id.hex() == "00f067aa0ba902b7"
                assert inner.parent_span_id == outer.span_id
                assert commit.parent_span_id == inner.span_id
                assert inner.start_time_unix_nano <= commit.start_time_unix_nano < commit.end_time_unix_nano
                assert commit.end_time_unix_nano <= inner.end_time_unix_nano
                noted = {each.key: each.value for each in inner.attributes}
                assert noted["market.engine_seq"].int_value == seq
                assert noted["market.request_id"].string_value == "r-42"

                found = [line for line in lines(engine.log) if line.get("request_id") == "r-42"]
                assert [(line["event"], line["kind"], line["seq"]) for line in found] == [
                    ("released", "PlaceOrder", seq)
                ]
                asked = [line for line in lines(gateway.log) if line.get("request_id") == "r-42"]
                assert [(line["event"], line["route"], line["engine_seq"]) for line in asked] == [
                    ("request", "/v1/orders", seq)
                ]
                await placed(seller, order("sell", "s-2"))  # without marks: it gets an id, and a trace of its own
                made = [line for line in lines(gateway.log) if line["event"] == "request"][-1]
                assert len(made["request_id"]) == 16
        engine.process.terminate()
        gateway.process.terminate()
        assert (await engine.ends(), await gateway.ends()) == (0, 0)


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


async def test_requests_of_a_socket_are_traced_in_one_process_too(database: str, spans: InMemorySpanExporter) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    async with running_stack(database, tracing=tracing_of(provider)) as stack:
        key = await stack.investor("A17")
        good = {"symbol": "L1/USD", "side": "buy", "order_type": "limit", "limit_price": "90", "order_qty": "1"}
        async with connected(stack.ws_url, key) as socket:
            spans.clear()
            await socket.call("add_order", **good)
            await socket.call("add_order", **good | {"order_qty": "1000000000"})
    by_id = {span.context.span_id: span for span in spans.get_finished_spans()}
    engines = [span for span in by_id.values() if span.name == "engine PlaceOrder"]
    assert [span.attributes.get("market.refused", False) for span in engines] == [False, True]
    for span in engines:
        assert span.parent is not None
        assert by_id[span.parent.span_id].name == "ws add_order"
    commits = [span for span in by_id.values() if span.name == "commit"]
    assert commits
    assert commits[0].parent == engines[0].context
