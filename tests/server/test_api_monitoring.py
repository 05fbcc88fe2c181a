"""Why something does not run, what is wrong, and what the server does by itself: over REST."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from autogpt_server.data.alerts import Alerts
from autogpt_server.data.task_runs import TaskCause, TaskOutcome, TaskRuns
from autogpt_server.model import clock
from autogpt_server.model.alert import AlertKind, Finding
from autogpt_server.model.ids import DEFAULT_USER_ID
from tests.server.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def why(api: Api, path: str) -> dict[str, dict[str, Any]]:
    """Ask, and return the reasons by code."""
    answer = await api.call("GET", f"{path}/why", 200)
    return {reason["code"]: reason for reason in answer["reasons"]}


async def submit(api: Api, graph_id: str, **query: Any) -> str:
    return (await api.call("POST", f"/graphs/{graph_id}/execute", 202, json={}, params=query))["id"]


def change(api: Api, execution_id: str, **columns: Any) -> None:
    database = api.services.database
    sets = ", ".join(f'"{name}" = ?' for name in columns)
    with database.write() as c:
        text = f'UPDATE "AgentGraphExecution" SET {sets} WHERE "id" = ?'
        c.execute(database.sql(text), (*columns.values(), execution_id))


async def test_without_executors_that_is_why(api: Api):
    execution_id = await submit(api, await api.stored())
    reasons = await why(api, f"/executions/{execution_id}")
    assert "no executor process gives a sign of life" in reasons["no_executor"]["message"]
    assert "/api/health" in reasons["no_executor"]["fix"]


async def test_the_turn_of_an_execution_is_told(api: Api):
    graph_id = await api.stored()
    first = await submit(api, graph_id)
    last = await submit(api, graph_id)
    await submit(api, graph_id, priority=5)
    assert (await why(api, f"/executions/{last}"))["turn"]["facts"]["before"] >= 2
    change(api, last, lane="quarantine", deaths=2)
    assert "died 2 times" in (await why(api, f"/executions/{last}"))["quarantine"]["message"]
    change(api, first, status="RUNNING", lane=graph_id)
    change(api, last, lane=graph_id, laneLimit=1)
    reasons = await why(api, f"/executions/{last}")
    assert reasons["graph_limit"]["facts"] == {"running": [first], "limit": 1}
    change(api, first, lane="schedule:s")
    change(api, last, lane="schedule:s")
    assert (await why(api, f"/executions/{last}"))["overlap"]["facts"]["schedule_id"] == "s"


async def test_what_runs_is_told_with_its_nodes_and_parts(api: Api):
    graph_id = await api.stored()
    execution_id, part = await submit(api, graph_id), await submit(api, graph_id)
    change(api, execution_id, status="RUNNING")
    change(api, part, parentExecutionId=execution_id)
    node = (await api.call("GET", f"/graphs/{graph_id}", 200))["nodes"][0]
    database = api.services.database
    with database.write() as c:
        text = """
INSERT INTO "AgentNodeExecution" ("id","agentGraphExecutionId","agentNodeId","status","inputData","tries","startedAt")
VALUES (?,?,?,'RUNNING','{}',2,?)
"""
        started = database.to_column(clock.now() - timedelta(seconds=90))
        c.execute(database.sql(text), (f"{execution_id}.0", execution_id, node["id"], started))
    reasons = await why(api, f"/executions/{execution_id}")
    assert reasons["part"]["facts"] == {"execution_id": part, "status": "QUEUED"}
    assert reasons["node"]["facts"]["block_name"] == node["block_name"]
    assert reasons["node"]["facts"]["running_seconds"] >= 90
    assert "in its try 2" in reasons["node"]["message"]


async def test_what_is_paused_or_has_ended_says_so(api: Api):
    execution_id = await submit(api, await api.stored())
    await api.call("POST", f"/executions/{execution_id}/pause", 200)
    assert "somebody paused it" in (await why(api, f"/executions/{execution_id}"))["paused"]["message"]
    await api.call("POST", f"/executions/{execution_id}/stop", 200)
    assert "TERMINATED" in (await why(api, f"/executions/{execution_id}"))["ended"]["message"]


async def test_a_schedule_tells_what_it_waits_for(api: Api):
    graph_id = await api.stored()
    body = {"cron": "0 0 1 1 *", "inputs": {}, "overlap_policy": "skip"}
    schedule = await api.call("POST", f"/graphs/{graph_id}/schedules", 201, json=body)
    path = f"/schedules/{schedule['id']}"
    assert (await why(api, path))["not_due"]["facts"]["next_run_at"] == schedule["next_run_at"]

    execution_id = await submit(api, graph_id)
    change(api, execution_id, scheduleId=schedule["id"])
    assert (await why(api, path))["overlap"]["facts"]["unfinished"] == [execution_id]

    await api.call("POST", f"{path}/pause", 200, json={"reason": "holidays", "by": "Ann"})
    reasons = await why(api, path)
    assert reasons["paused"]["facts"]["reason"] == "holidays"
    assert reasons["paused"]["message"].endswith("by Ann: holidays")
    assert "not_due" not in reasons

    await api.call("DELETE", f"/graphs/{graph_id}", 204)
    assert graph_id in (await why(api, path))["graph_gone"]["message"]


async def test_what_is_not_there_is_not_found(api: Api, unknown_id: str):
    await api.call("GET", f"/executions/{unknown_id}/why", 404)
    await api.call("GET", "/schedules/nothing/why", 404)
    await api.call("GET", "/system/tasks/nothing/runs", 404)
    await api.call("POST", "/system/tasks/nothing/run", 404)


async def test_alerts_are_listed(api: Api):
    finding = Finding(AlertKind.LATE_EXECUTIONS, DEFAULT_USER_ID, DEFAULT_USER_ID, "two are late", 2)
    alerts = Alerts(api.services.database)
    alerts.keep(finding.kind, [finding], clock.now())
    (alert,) = (await api.call("GET", "/alerts", 200))["items"]
    assert (alert["kind"], alert["message"], alert["resolved_at"]) == ("late_executions", "two are late", None)
    alerts.keep(finding.kind, [], clock.now())
    assert (await api.call("GET", "/alerts", 200))["items"] == []
    assert len((await api.call("GET", "/alerts?only_open=false", 200))["items"]) == 1


async def test_how_blocks_ended_is_counted(running: Api):
    graph_id = await running.stored()
    before = {b["block_name"]: b for b in (await running.call("GET", "/block-stats", 200))["items"]}
    await running.ended(await submit(running, graph_id))
    after = {b["block_name"]: b for b in (await running.call("GET", "/block-stats?hours=1", 200))["items"]}
    already = before.get("ValueBlock", {"executions": 0})["executions"]
    assert after["ValueBlock"]["executions"] > already
    assert after["ValueBlock"]["error_rate"] == 0


async def test_the_tasks_of_the_system_are_listed_with_their_runs(api: Api):
    runs = TaskRuns(api.services.database)
    runs.end(runs.begin("report_late_executions", TaskCause.REQUEST), TaskOutcome.FAILED, "no\0 luck")
    tasks = {task["id"]: task for task in (await api.call("GET", "/system/tasks", 200))["items"]}
    assert len(tasks) == 4
    assert tasks["process_weekly_summary"]["next_run_at"] is not None
    assert tasks["report_late_executions"]["last_run"]["outcome"] == "failed"
    (run,) = (await api.call("GET", "/system/tasks/report_late_executions/runs", 200))["items"]
    assert (run["cause"], run["result"], run["scheduled_at"]) == ("request", "no luck", None)
    assert run["duration_seconds"] >= 0
