"""Tracing by OpenTelemetry. Import it only where its packages are wanted: they are the extra `otel`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.process.tracing import Tracing, Value
from market.commands import Command
from market.ids import Seq
from market.port import Caller

W3C = TraceContextTextMapPropagator()
PARENT = "traceparent"


def otlp_provider(url: str, process: str) -> TracerProvider:
    """Return what sends spans to a collector, in batches and from a thread of its own."""
    resource = Resource.create({"service.name": f"debt-market-{process}", "service.version": version("debt-market")})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
    return provider


def tracing_of(provider: TracerProvider) -> Tracing:
    return OpenTelemetryTracing(provider.get_tracer("debt-market"))


class RequestSpan:
    """`tracing.Span` over one of OpenTelemetry's."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        carrier: dict[str, str] = {}
        W3C.inject(carrier, set_span_in_context(self._span))
        return carrier.get(PARENT, "")

    def note(self, **attributes: Value) -> None:
        for name, value in attributes.items():
            self._span.set_attribute(name.replace("__", "."), value)

    def fail(self) -> None:
        self._span.set_status(Status(StatusCode.ERROR))


class OpenTelemetryTracing:
    """`tracing.Tracing`: the engine's spans are made once they are over, so that the matching path has none of it."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def request(self, name: str, carrier: Mapping[str, str]) -> Iterator[RequestSpan]:
        parent = W3C.extract({PARENT: carrier.get(PARENT, "")})
        span = self._tracer.start_span(name, context=parent, kind=SpanKind.SERVER)
        try:
            yield RequestSpan(span)
        finally:
            span.end()

    def released(
        self, command: Command, caller: Caller, seq: Seq | None, *, received_at: int, commit: tuple[int, int] | None
    ) -> None:
        parent = W3C.extract({PARENT: caller.trace or ""})
        name = f"engine {type(command).__name__}"
        span = self._tracer.start_span(name, context=parent, kind=SpanKind.CONSUMER, start_time=received_at)
        span.set_attribute("market.request_id", caller.request_id)
        if seq is None:
            span.set_attribute("market.refused", True)
        else:
            span.set_attribute("market.engine_seq", seq)
        end = received_at
        if commit is not None:
            began, end = commit
            inner = self._tracer.start_span(
                "commit", context=set_span_in_context(span), kind=SpanKind.CLIENT, start_time=began
            )
            inner.set_attribute("db.system.name", "postgresql")
            inner.end(end)
        span.end(max(end, received_at))
