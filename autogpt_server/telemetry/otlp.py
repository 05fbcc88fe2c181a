"""Sends spans by OTLP over HTTP.  Imported only where traces are configured: it takes OpenTelemetry's SDK in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

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
    """Sends in the background, in batches.  The OTEL_* variables tell headers, limits and the service's name.

    Args:
        endpoint: Full address to which spans are posted.
    """

    def __init__(self, endpoint: str) -> None:
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))
        # The second one wins.
        self._resource = Resource({"service.name": "autogpt-server"}).merge(OTELResourceDetector().detect())

    def send(self, span: FinishedSpan) -> None:
        """Queue a span; when the queue is full, because nobody takes them, it is dropped."""
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

    def close(self) -> None:
        """Send what waits."""
        self._processor.shutdown()
