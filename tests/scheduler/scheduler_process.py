"""The real scheduler process for tests, asked over plain HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.scheduler.service import Scheduler
from autogpt_server.settings import Settings

_LIMIT = 30.0


class Service:
    """A scheduler in a process of its own."""

    def __init__(self, settings: Settings, **more: Any) -> None:
        self.settings = settings
        self.process = Scheduler(settings, **more)

    def __enter__(self) -> Service:
        self.process.__enter__()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.process.port}", timeout=_LIMIT)
        until(lambda: self.http.get("/health_check").status_code == 200)
        return self

    def __exit__(self, *error: object) -> None:
        self.http.close()
        self.process.__exit__(*error)

    def post(self, method: str, **arguments: Any) -> httpx.Response:
        return self.http.post(f"/{method}", json=arguments)

    def add(self, graph_id: str, **changes: Any) -> dict[str, Any]:
        answer = self.post("add_graph_execution_schedule", **wanted(graph_id, **changes))
        assert answer.status_code == 200, answer.text
        return answer.json()


def until(condition: Callable[[], Any], seconds: float = _LIMIT) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.02)
    return value


def wanted(graph_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "user_id": DEFAULT_USER_ID, "graph_id": graph_id, "graph_version": 1, "cron": "0 9 * * 1", "input_data": {},
    } | changes  # fmt: skip


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]
