"""Whatever is sent to a route, the answer is one that the OpenAPI document announces, and never a failure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.openapi import from_url
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from autogpt_server.server.agent_server import AgentServer
from autogpt_server.settings import Settings


def every_refusal_says_what_to_send(context: Any, response: Any, case: Any) -> None:
    """A check of schemathesis: of what is refused, the place, the reason and the remedy are told."""
    del context, case
    if response.status_code == 422:
        errors = response.json()["errors"]
        assert errors and all(error["path"] and error["message"] and error.get("fix") for error in errors), errors


CHECKS: list[Any] = [
    every_refusal_says_what_to_send,
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
EXAMPLES = 3
#: Health is 503 without executors, and takes no parameters; nor do metrics and what is parked.  Executing a block
#: starts a process; no name of a block or a task is a bad one.  A key that is made would shut out all further requests.
LEFT_OUT = {
    GenerationMode.POSITIVE: {"/api/health", "/api/blocks/{name}/execute", "/api/keys"},
    GenerationMode.NEGATIVE: {
        "/api/health",
        "/api/metrics",
        "/api/keys",
        "/api/me",
        "/api/notifications/preferences",
        "/api/notifications/targets",
        "/api/schedules/parked",
        "/api/credentials/providers",
        "/api/system/tasks",
        "/api/system/tasks/{task_id}/run",
        "/api/blocks/{name}/execute",
        "/api/blocks/{name}",
    },
}


@pytest.fixture(scope="module")
def document(server_settings: Settings) -> Iterator[schemathesis.BaseSchema]:
    server = AgentServer(server_settings.model_copy(update={"port": 0}))
    with server:
        yield from_url(f"http://127.0.0.1:{server.wait_ready()['port']}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_one_that_was_announced(document: schemathesis.BaseSchema, mode: GenerationMode):
    for found in document.get_all_operations():
        operation = found.ok()
        if operation.path in LEFT_OUT[mode]:
            continue

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: schemathesis.Case) -> None:
            # Its own closes connections whenever garbage is collected, which fails some other test.
            with requests.Session() as session:
                case.call_and_validate(checks=CHECKS, session=session)

        check()
