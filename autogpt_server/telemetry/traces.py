"""Whether traces are sent, and by what: nothing of OpenTelemetry is imported where they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autogpt_server.settings import Settings

if TYPE_CHECKING:
    from autogpt_server.telemetry.otlp import OtlpSender


def open_sender(settings: Settings) -> OtlpSender | None:
    """Make the sender that the OTEL_* variables ask for; None when they ask for none."""
    endpoint = settings.traces_endpoint
    if endpoint is None:
        return None
    # Here, because it takes 30 ms and 3 MB of every process, which those who send no traces need not pay.
    from autogpt_server.telemetry.otlp import OtlpSender

    return OtlpSender(endpoint)
