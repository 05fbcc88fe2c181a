"""Joins the trace of whoever submits an execution: a span in theirs, linked to the trace of the execution."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from starlette.types import Message, Scope

from autogpt_server.model.clock import now_ms
from autogpt_server.telemetry.span_ids import parse_traceparent, span_id, trace_id

if TYPE_CHECKING:
    from autogpt_server.telemetry.otlp import OtlpSender

_LOCATION = b"/api/executions/"


class SubmissionSpans:
    """Sees answers go out, and notes those that accept an execution for a request with a ``traceparent``."""

    def __init__(self, sender: OtlpSender) -> None:
        self._sender = sender

    def note(self, scope: Scope, answer: Message, route: str, seconds: float) -> None:
        """Send the span of a submission; other requests have none."""
        if answer["status"] != 202:
            return
        location: bytes = dict(answer["headers"]).get(b"location", b"")
        traceparent: bytes = dict(scope["headers"]).get(b"traceparent", b"")
        caller = parse_traceparent(traceparent.decode("latin-1"))
        if caller is None or not location.startswith(_LOCATION):
            return
        from autogpt_server.telemetry.otlp import FinishedSpan, SpanId

        execution_id = location[len(_LOCATION) :].decode()
        now = now_ms()
        self._sender.send(
            FinishedSpan(
                SpanId(caller[0], secrets.randbits(64) or 1),
                f"POST {route}",
                now - round(seconds * 1000),
                now,
                parent=SpanId(*caller),
                links=[SpanId(trace_id(execution_id), span_id(execution_id))],
                attributes={
                    "autogpt.execution.id": execution_id,
                    "http.route": route,
                    "http.response.status_code": 202,
                },
                is_server=True,
            )
        )
