"""Ids of traces and spans."""

from __future__ import annotations

import pytest

from autogpt_server.model.ids import new_id
from autogpt_server.telemetry.span_ids import parse_traceparent, span_id, trace_id

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_trace_has_the_id_of_its_execution() -> None:
    execution_id = new_id()
    assert f"{trace_id(execution_id):032x}" == execution_id.replace("-", "")
    assert 0 < span_id(execution_id) < 2**64
    assert span_id(f"{execution_id}.1") != span_id(f"{execution_id}.2")


def test_a_sampled_traceparent_is_read() -> None:
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-01") == (int(TRACE, 16), int(SPAN, 16))


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}-00",
        f"00-{'0' * 32}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{'g' * 16}-01",
        "00-1-1-01",
    ],
)
def test_anything_else_is_no_caller(text: str) -> None:
    assert parse_traceparent(text) is None
