"""What the process says of itself to Prometheus: one registry of its own, names end in their unit.

`Metrics` is handed to the engine (batches, acknowledgements, inbox) and to the gateway (orders, sockets). What is cheap
to read and changes all the time is read when somebody scrapes, not counted on the way.
"""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.0, 5.0)
FAILURES = ("NotCommitted", "Doubtful", "Quarantined")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """One per process. The first three methods are what the engine calls.

    of_engine, of_gateway: which of the two the process has; what belongs to the other is not shown.
    partition: of the engine. What is of one partition bears it as a label, so that no other one hides it in a sum.
    """

    def __init__(self, *, of_engine: bool = True, of_gateway: bool = True, partition: int = 0) -> None:
        self.registry = CollectorRegistry()
        engine = self.registry if of_engine else None
        gateway = self.registry if of_gateway else None
        ProcessCollector(registry=self.registry)  # memory, processor time, files
        GCCollector(registry=self.registry)
        self._watched: dict[str, Gauge] = {}
        self._here = here = str(partition)
        self._orders = Counter(
            "market_orders",
            "Order commands by outcome: accepted, or the refusal's code",
            ["outcome"],
            registry=gateway,
        )
        self._batch = Histogram(
            "market_batch_commands", "Commands per commit", ["partition"], buckets=BATCH_SIZES, registry=engine
        ).labels(here)
        self._commit = Histogram(
            "market_commit_seconds", "Time of one commit", ["partition"], buckets=SECONDS, registry=engine
        ).labels(here)
        self._ack = Histogram(
            "market_ack_seconds",
            "From the inbox to the durable answer",
            ["partition"],
            buckets=SECONDS,
            registry=engine,
        ).labels(here)
        self._failures = Counter(
            "market_settlement_failures",
            "Commits that failed, by what that meant: NotCommitted, Doubtful, or a command that was set aside",
            ["partition", "kind"],
            registry=engine,
        )
        for kind in FAILURES:  # from 0, so that the first one is an increase
            self._failures.labels(here, kind)
        self._lag = Histogram(
            "gateway_feed_lag_seconds",
            "From the stamp of a batch's last command to its public messages",
            ["partition"],
            buckets=SECONDS,
            registry=gateway,
        )
        self._requests = Histogram(
            "gateway_request_seconds",
            "REST requests by method and status",
            ["method", "status"],
            buckets=SECONDS,
            registry=gateway,
        )
        self._slow = Counter("gateway_slow_consumers", "Sockets cut off for reading too slowly", registry=gateway)

    def observe_batch(self, size: int, commit_seconds: float) -> None:
        self._batch.observe(size)
        self._commit.observe(commit_seconds)

    def observe_ack(self, seconds: float) -> None:
        self._ack.observe(seconds)

    def count_failure(self, kind: str) -> None:
        self._failures.labels(self._here, kind).inc()

    def count_order(self, outcome: str) -> None:
        """outcome: `accepted`, or the code of the refusal."""
        self._orders.labels(outcome).inc()

    def observe_feed_lag(self, partition: int, seconds: float) -> None:
        self._lag.labels(str(partition)).observe(seconds)

    def observe_request(self, method: str, status: int, seconds: float) -> None:
        known = method if method in METHODS else "other"  # a client may make up as many as it likes
        self._requests.labels(known, str(status)).observe(seconds)

    def count_slow_consumer(self) -> None:
        self._slow.inc()

    def watch(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Show the value of `read` at each scrape. name: ends in its unit."""
        Gauge(name, help_text, registry=self.registry).set_function(read)

    def watch_partition(self, partition: int, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Show the value of `read` at each scrape as that of a partition."""
        if name not in self._watched:
            self._watched[name] = Gauge(name, help_text, ["partition"], registry=self.registry)
        self._watched[name].labels(str(partition)).set_function(read)

    def text(self) -> bytes:
        return generate_latest(self.registry)


METRICS = web.AppKey("metrics", Metrics)


async def get_metrics(request: web.Request) -> web.Response:
    """GET /metrics"""
    return web.Response(body=request.app[METRICS].text(), headers={"Content-Type": CONTENT_TYPE_LATEST})
