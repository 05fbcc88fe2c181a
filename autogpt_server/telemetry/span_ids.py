"""Names traces and spans after what they show, so that no process need tell another: the trace of an execution has the
execution's id, whoever runs which part of it."""

from __future__ import annotations

import hashlib


def trace_id(execution_id: str) -> int:
    """Give the trace of an execution: its UUID."""
    return int(execution_id.replace("-", ""), 16)


def span_id(text: str) -> int:
    """Give the span of an execution or a node execution, by its id."""
    return _hash(text.encode()) or 1


def spread(trace: int) -> int:
    """Give a number for a trace that is spread evenly over 64 bits, by which samplers decide; the trace of an execution
    tells its time and a count, too."""
    return _hash(trace.to_bytes(16, "big"))


def parse_traceparent(text: str) -> tuple[int, int] | None:
    """Read trace and span from a W3C ``traceparent`` header; None when it is none, or not sampled."""
    parts = text.strip().split("-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2] or parts[0] == "ff":
        return None
    try:
        trace, span, flags = (int(part, 16) for part in parts[1:4])
    except ValueError:
        return None
    return (trace, span) if trace and span and flags & 1 else None


def _hash(text: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
