"""Work for servers that are being broken: graphs of every kind, and a client that does not give up."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from autogpt_server.blocks.registry import load_registry
from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.data.urls import parse_database_url
from tests import node_blocks, odd_blocks
from tests.make_graph import Nodes, graph_json, make_graph

#: Blocks that a server needs for these graphs.
BLOCKS = f"{odd_blocks.ALL},{node_blocks.ALL}"
#: Seconds until a server that lost processes must be itself again.
PATIENCE = 90.0

_REGISTRY = load_registry(BLOCKS.split(","))


def graph(nodes: Nodes, links: list[str], **policy: Any) -> dict[str, Any]:
    """A graph as a client sends it."""
    return graph_json(make_graph(_REGISTRY, nodes, links, policy=policy))


def chain() -> dict[str, Any]:
    """Five nodes in a row, the second and the fourth with an effect outside."""
    return graph(
        {
            "a": ("CalculatorBlock", {"operation": "Add", "a": 0, "b": 1}),
            "b": ("RecordingBlock", {}),
            "c": ("CalculatorBlock", {"operation": "Add", "b": 1}),
            "d": ("RecordingBlock", {}),
            "out": ("AgentOutputBlock", {"name": "count"}),
        },
        ["a.result -> b.value", "b.value -> c.a", "c.result -> d.value", "d.value -> out.value"],
    )


def stream() -> dict[str, Any]:
    """A block that streams, what follows each of its values, and a fan-in of two of its links."""
    return graph(
        {
            "numbers": ("StreamBlock", {"count": 5}),
            "each": ("RecordingBlock", {}),
            "both": ("CalculatorBlock", {"operation": "Add"}),
            "out": ("AgentOutputBlock", {"name": "sum"}),
        },
        ["numbers.value -> each.value", "each.value -> both.a", "numbers.value -> both.b", "both.result -> out.value"],
    )


def parts() -> dict[str, Any]:
    """Lists put together of what moves and what stays, and taken apart again."""
    return graph(
        {
            "numbers": ("StreamBlock", {"count": 5}),
            "seven": ("ValueBlock", {"input": 7}),
            "list": ("AddToListBlock", {"entries": ["first"]}),
            "each": ("RecordingBlock", {}),
            "never": ("RecordingBlock", {}),
            "out": ("AgentOutputBlock", {"name": "lists"}),
        },
        [
            "numbers.value -> list.entries_$_0",
            "seven.output -> list.entries_$_1",
            "list.updated_list_$_1 -> each.value",
            "list.updated_list_$_3 -> never.value",
            "list.updated_list -> out.value",
        ],
    )


def loop() -> dict[str, Any]:
    """Counts to ten through a condition."""
    return graph(
        {
            "start": ("CalculatorBlock", {"operation": "Add", "a": 0, "b": 0}),
            "add": ("CalculatorBlock", {"operation": "Add", "b": 1}),
            "again": ("ConditionBlock", {"operator": "<", "value2": 10}),
            "out": ("AgentOutputBlock", {"name": "ten"}),
        },
        [
            "start.result -> add.a",
            "add.result -> again.value1",
            "again.yes_output -> add.a",
            "again.no_output -> out.value",
        ],
    )


def fan_out() -> dict[str, Any]:
    """One node before ten with an effect outside."""
    each = {f"n{i}": ("RecordingBlock", {}) for i in range(10)}
    return graph(
        {"one": ("CalculatorBlock", {"operation": "Add", "a": 1, "b": 1}), **each},
        [f"one.result -> {name}.value" for name in each],
    )


def retrying() -> dict[str, Any]:
    """Nodes that fail by chance and are tried again until they do not."""
    policy = {"retry": {"attempts": 50, "delay_seconds": 0.02}}
    return graph(
        {
            "first": ("UnluckyBlock", {"value": 1}, policy),
            "second": ("UnluckyBlock", {}, policy),
            "out": ("AgentOutputBlock", {"name": "one"}),
        },
        ["first.value -> second.value", "second.value -> out.value"],
    )


def waiting(seconds: float = 0.5) -> dict[str, Any]:
    """A node that waits, and one behind it."""
    return graph(
        {"wait": ("WaitBlock", {"seconds": seconds}), "out": ("AgentOutputBlock", {"name": "message"})},
        ["wait.output_message -> out.value"],
    )


def calling(graph_id: str) -> dict[str, Any]:
    """A node that executes another graph, and one behind it."""
    return graph(
        {"call": ("AgentExecutorBlock", {"graph_id": graph_id}), "after": ("RecordingBlock", {})},
        ["call.output_lists -> after.value"],
    )


def gated(gate: str) -> dict[str, Any]:
    """A node that waits for a file of the user, and one behind it."""
    return graph({"gate": ("PidBlock", {"path": gate}), "out": ("AgentOutputBlock", {"name": "pid"})}, [
        "gate.value -> out.value"
    ])  # fmt: skip


class Load:
    """A client of one server, which may be away at any moment.

    Args:
        url: Of the server; it may change when the server is started again.
        database_url: Where it stores.
        data_dir: Its folder.
        patience: Seconds to ask for anything.
    """

    def __init__(self, url: str, database_url: str, data_dir: Path, patience: float = PATIENCE) -> None:
        self.http = httpx.Client(base_url=f"{url}/api", timeout=20)
        self.database = Database(parse_database_url(database_url, data_dir))
        self.accepted: list[str] = []
        self.data_dir, self._patience = data_dir, patience

    def close(self) -> None:
        self.http.close()
        self.database.close()

    def call(self, method: str, path: str, json: Any = None, **more: Any) -> dict[str, Any]:
        """Ask until it is done."""
        answer = self.call_until_answered(method, path, json, **more)
        assert answer.is_success, answer.text
        return answer.json()

    def call_until_answered(self, method: str, path: str, json: Any = None, **more: Any) -> httpx.Response:
        """Ask until there is an answer, be it a refusal."""
        end = time.monotonic() + self._patience
        while True:
            answer = self.once(method, path, json, **more)
            if answer is not None and not answer.is_server_error:
                return answer
            assert time.monotonic() < end, "no answer" if answer is None else answer.text
            time.sleep(0.05)

    def once(self, method: str, path: str, json: Any = None, **more: Any) -> httpx.Response | None:
        """Ask once; None where the server went away."""
        with contextlib.suppress(httpx.TransportError):
            return self.http.request(method, path, json=json, **more)
        return None

    def store(self, document: dict[str, Any]) -> str:
        """Store a graph.  A repeated request finds it stored already."""
        end = time.monotonic() + self._patience
        while True:
            answer = self.once("POST", "/graphs", document)
            if answer is not None and answer.status_code in (201, 409):
                return document["id"]
            assert time.monotonic() < end, "no answer" if answer is None else answer.text
            time.sleep(0.05)

    def submit(self, graph_id: str, count: int = 1) -> list[str]:
        """Submit executions; a key keeps a repeated request from doubling them."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        ids: list[str] = self.call(
            "POST", f"/graphs/{graph_id}/execute/batch", {"inputs": [{}] * count}, headers=headers
        )["ids"]
        self.accepted += ids
        return ids

    def submit_alone(self, graph_id: str) -> str:
        """Submit one execution, as safely."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        execution_id: str = self.call("POST", f"/graphs/{graph_id}/execute", {}, headers=headers)["id"]
        self.accepted.append(execution_id)
        return execution_id

    def until(self, condition: Callable[[Connection], Any], what: str) -> None:
        """Wait until a look at the database says so."""
        end = time.monotonic() + self._patience
        while True:
            with self.database.read() as c:
                if condition(c):
                    return
            assert time.monotonic() < end, what
            time.sleep(0.02)

    def wait_for_all(self) -> None:
        """Wait until every execution has ended."""
        waiting = "'INCOMPLETE','QUEUED','RUNNING','PAUSED'"
        text = f'SELECT 1 FROM "AgentGraphExecution" WHERE "status" IN ({waiting}) LIMIT 1'
        self.until(lambda c: c.execute(text).first() is None, "some executions do not end")

    def wait_for(self, execution_id: str, *statuses: str) -> None:
        among = ",".join(f"'{status}'" for status in statuses)
        text = f'SELECT 1 FROM "AgentGraphExecution" WHERE "id" = \'{execution_id}\' AND "status" IN ({among})'
        self.until(lambda c: c.execute(text).first() is not None, f"{execution_id} is not {among}")
