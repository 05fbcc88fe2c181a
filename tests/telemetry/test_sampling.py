"""The sampler that OTEL_TRACES_SAMPLER names decides about whole executions."""

from __future__ import annotations

import pytest

from autogpt_server.model.ids import new_id
from autogpt_server.telemetry import otlp
from autogpt_server.telemetry.otlp import FinishedSpan, OtlpSender, SpanId
from autogpt_server.telemetry.span_ids import span_id, trace_id


class Processor:
    """Takes what would be sent."""

    def __init__(self, exporter: object) -> None:
        self.spans: list[int] = []

    def on_end(self, span: object) -> None:
        self.spans.append(span.context.trace_id)  # type: ignore[attr-defined]


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Processor:
    processor = Processor(None)
    monkeypatch.setattr(otlp, "BatchSpanProcessor", lambda _: processor)
    return processor


def send(count: int) -> list[int]:
    """Send an execution's span and two nodes' for so many executions; returns their traces."""
    sender, traces = OtlpSender("http://127.0.0.1:1/v1/traces"), []
    for _ in range(count):
        id_ = new_id()
        root = SpanId(trace_id(id_), span_id(id_))
        sender.send(FinishedSpan(root, "execution", 1, 2))
        for node in (f"{id_}.0", f"{id_}.1"):
            sender.send(FinishedSpan(SpanId(root.trace, span_id(node)), "SomeBlock", 1, 2, parent=root))
        traces.append(root.trace)
    return traces


def test_without_it_everything_is_sent(processor: Processor) -> None:
    assert len({*send(10)}) * 3 == len(processor.spans) == 30


@pytest.mark.parametrize("name", ["traceidratio", "parentbased_traceidratio"])
def test_a_ratio_of_executions_is_sent_whole(processor: Processor, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    send(2000)
    sent = {*processor.spans}
    assert all(processor.spans.count(trace) == 3 for trace in [*sent][:20])
    assert 400 < len(sent) < 600


def test_callers_traces_follow_the_caller_or_nobody(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = SpanId(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)
    span = FinishedSpan(SpanId(caller.trace, 1), "POST /", 1, 2, parent=caller, is_server=True)
    for name, count in (("parentbased_always_off", 1), ("always_off", 0), ("always_on", 1)):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
        processor.spans.clear()
        OtlpSender("http://127.0.0.1:1/v1/traces").send(span)
        assert len(processor.spans) == count, name
