"""Traces, if they are asked for: a span of each request, and below it those of the engine and of its commit.

OpenTelemetry is an extra (`debt-market[otel]`), imported by otel.py alone, and that only where `--trace-url` is set.
How much is sampled, how it is sent and what the service is called follow OpenTelemetry's own OTEL_* variables.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from aiohttp import web

from market.engine import EngineTracer

Value = str | int


class Span(Protocol):
    """One request that is being served. traceparent: for those who go on with it."""

    @property
    def traceparent(self) -> str: ...

    def note(self, **attributes: Value) -> None:
        """Add what is known by now; two underscores in a name stand for a dot."""

    def fail(self) -> None: ...


class Tracing(EngineTracer, Protocol):
    def request(self, name: str, carrier: Mapping[str, str]) -> AbstractContextManager[Span]:
        """A span as long as the context lasts. carrier: headers, which may say of which trace it is a part."""


TRACING: web.AppKey[Tracing | None] = web.AppKey("tracing")


def request_span(tracing: Tracing | None, name: str, carrier: Mapping[str, str]) -> AbstractContextManager[Span | None]:
    return nullcontext() if tracing is None else tracing.request(name, carrier)


class TracingUnavailable(Exception):
    """The extra is not installed; the message says how to."""


@contextmanager
def traced_to(url: str | None, process: str) -> Iterator[Tracing | None]:
    """Trace to a collector as long as the context lasts; without a URL nothing is traced, nor even imported.

    process: engine, gateway or serve.  url: of a collector that takes OTLP over HTTP.
    """
    if url is None:
        yield None
        return
    try:
        from gateway.process.otel import otlp_provider, tracing_of  # noqa: PLC0415  an extra, which few need
    except ImportError as e:
        raise TracingUnavailable(f"--trace-url needs the extra: pip install 'debt-market[otel]' ({e})") from e
    provider = otlp_provider(url, process)
    try:
        yield tracing_of(provider)
    finally:
        provider.shutdown()  # sends what waits
