"""Sends spans by OTLP over HTTP.  Imported only where traces are configured: it takes OpenTelemetry's SDK in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from autogpt_server.telemetry.span_ids import spread

_SCOPE = InstrumentationScope("autogpt_server")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


@dataclass(frozen=True, slots=True)
class SpanId:
    """Where a span stands."""

    trace: int
    span: int

    def context(self) -> SpanContext:
        return SpanContext(self.trace, self.span, is_remote=False, trace_flags=_SAMPLED)


@dataclass(frozen=True, slots=True)
class FinishedSpan:
    """A span that has ended.  Times are in milliseconds since 1970."""

    id: SpanId
    name: str
    began_ms: int
    ended_ms: int
    parent: SpanId | None = None
    links: Sequence[SpanId] = ()
    attributes: Mapping[str, str | int] = field(default_factory=dict[str, "str | int"])
    error: str | None = None
    is_server: bool = False


class OtlpSender:
    """Sends in the background, in batches.  The OTEL_* variables tell headers, limits, the service's name, and which
    traces are sampled: all processes decide the same about the spans of one trace.

    Args:
        endpoint: Full address to which spans are posted.
    """

    def __init__(self, endpoint: str) -> None:
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))
        # The one that OTEL_TRACES_SAMPLER names.
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        # The second one wins.
        self._resource = Resource({"service.name": "autogpt-server"}).merge(OTELResourceDetector().detect())

    def send(self, span: FinishedSpan) -> None:
        """Queue a span that is sampled; when the queue is full, because nobody takes them, it is dropped."""
        if not self._is_sampled(span):
            return
        self._processor.on_end(
            ReadableSpan(
                span.name,
                span.id.context(),
                None if span.parent is None else span.parent.context(),
                self._resource,
                dict(span.attributes),
                links=[Link(link.context()) for link in span.links],
                kind=SpanKind.SERVER if span.is_server else SpanKind.INTERNAL,
                status=Status(StatusCode.OK) if span.error is None else Status(StatusCode.ERROR, span.error),
                start_time=span.began_ms * 1_000_000,
                end_time=max(span.began_ms, span.ended_ms) * 1_000_000,
                instrumentation_scope=_SCOPE,
            )
        )

    def _is_sampled(self, span: FinishedSpan) -> bool:
        if span.is_server and span.parent is not None:
            # A caller's trace, which the caller samples.
            remote = SpanContext(span.parent.trace, span.parent.span, is_remote=True, trace_flags=_SAMPLED)
            parent = set_span_in_context(NonRecordingSpan(remote))
            return self._sampler.should_sample(parent, span.id.trace, span.name).decision.is_sampled()
        return self._sampler.should_sample(None, spread(span.id.trace), "execution").decision.is_sampled()

    def close(self) -> None:
        """Send what waits."""
        self._processor.shutdown()
