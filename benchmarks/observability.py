"""What it costs the engine to be watched: orders per second plain, with request ids, and with traces.

    python benchmarks/observability.py [--orders 20000] [--rounds 5] [--smoke]

Orders that rest and are filled go through the real engine over a ledger that keeps nothing, so that the disk is no part
of it: in a real market the share is smaller. The ways take turns in each round; the figure of a way is its median. The
claim: with every order traced, less than half as much time again; request ids alone are not to be seen. Tracing needs
the extra otel. About 30 s.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from settlement_commit import machine

from gateway.process.otel import tracing_of
from gateway.process.tracing import Span, Tracing, request_span
from market.commands import AccountKind, Command, OpenMarket
from market.engine import NOTHING_CONSUMED, Engine
from market.events import LogEntry
from market.ids import Seq
from market.port import CALLER, Answer, Caller
from market.venue.venue import Venue
from tests.builders import DAY, buy, deposit, open_account, register, sell

GENESIS: list[Command] = [
    OpenMarket(business_date=DAY),
    open_account("HOUSE", AccountKind.HOUSE),
    open_account("ORIG", AccountKind.ORIGINATOR),
    register(),
    open_account("BUYER"),
    deposit("BUYER", 100_000_000_00),
]


class NoLedger:
    """A store that forgets, at once."""

    epoch = 1
    consumed: Mapping[str, str] = NOTHING_CONSUMED
    on_lost: Callable[[], None] = staticmethod(lambda: None)

    async def open(self) -> None: ...

    async def recover(self) -> Venue:
        return Venue()

    async def commit(self, entries: Sequence[LogEntry], consumed: Mapping[str, str] = NOTHING_CONSUMED) -> None: ...

    async def resolve(self) -> Seq:
        raise NotImplementedError

    async def quarantine(self, entry: LogEntry, error: str) -> None:
        raise NotImplementedError

    async def close(self) -> None: ...


class Nowhere(SpanExporter):
    def export(self, spans: Sequence[object]) -> SpanExportResult:  # noqa: ARG002  the SDK's own signature
        return SpanExportResult.SUCCESS


def tracing(share: float) -> Tracing:
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(share))
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return tracing_of(provider)


async def orders_per_s(orders: int, *, ids: bool, tracer: Tracing | None) -> float:
    engine = Engine(store=NoLedger(), clock=time.time_ns, inbox_max=orders + 10, tracer=tracer)
    running = asyncio.create_task(engine.run())
    await engine.online()
    for command in GENESIS:
        await engine.submit(command, actor="bench")
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    told = 0

    def reply(_: object) -> None:
        nonlocal told
        told += 1
        if told == orders:
            done.set_result(None)

    began = time.perf_counter()
    for n in range(orders):
        make = sell("ORIG", 9_700, 1_00) if n % 2 == 0 else buy("BUYER", 9_700, 1_00)
        traced: AbstractContextManager[Span | None] = nullcontext()
        if ids:
            traced = request_span(tracer, "ws add_order", {})
        with traced as span:
            CALLER.set(Caller(f"c-1:{n}", None if span is None else span.traceparent) if ids else None)
            engine.send(make, actor="bench", reply=reply)
        if n % 500 == 499:
            await asyncio.sleep(0)
    await done
    seconds = time.perf_counter() - began
    assert isinstance(await engine.submit(deposit("BUYER", 1_00), actor="bench"), Answer)
    engine.stop()
    await running
    return orders / seconds


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="few orders, one round, only to show that it works")
    options = parser.parse_args()
    orders, rounds = (400, 1) if options.smoke else (options.orders, options.rounds)
    ways: dict[str, tuple[bool, Tracing | None]] = {
        "plain": (False, None),
        "with request ids": (True, None),
        "with ids and traces of 1 %": (True, tracing(0.01)),
        "with ids and traces of all": (True, tracing(1.0)),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    print(f"{machine()}; {orders} orders, {rounds} rounds")
    for _ in range(rounds):
        for name, (ids, tracer) in ways.items():
            found[name].append(await orders_per_s(orders, ids=ids, tracer=tracer))
    plain = statistics.median(found["plain"])
    for name, rates in found.items():
        rate = statistics.median(rates)
        print(f"{name:<28} {rate:>9,.0f} orders/s   {plain / rate:5.2f} times the time")


if __name__ == "__main__":
    asyncio.run(main())
