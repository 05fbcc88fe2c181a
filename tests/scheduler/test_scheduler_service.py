"""The real scheduler process on both databases, asked over plain HTTP and by its client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from autogpt_server.data.database import Database
from autogpt_server.errors import InvalidError, NotAuthorizedError, NotFoundError
from autogpt_server.model import clock
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.scheduler.client import SchedulerClient
from autogpt_server.scheduler.rpc_models import GraphExecutionJobArgs, GraphExecutionJobInfo
from autogpt_server.scheduler.stores import Jobstores, make_store
from autogpt_server.settings import Settings
from tests.data.schedule_rows import executions, stored_graph
from tests.postgres_server import free_port
from tests.scheduler.scheduler_process import Service, error_of, until, wanted


@pytest.fixture
def graph_id(rows: Database) -> str:
    return stored_graph(rows)


def test_a_schedule_is_added_listed_and_deleted(service: Service, graph_id: str) -> None:
    credentials = {"key": {"id": "c", "provider": "github", "type": "api_key"}}
    added = service.add(graph_id, input_credentials=credentials, name="weekly", user_timezone="Europe/Berlin")
    at = datetime.fromisoformat(added.pop("next_run_time"))
    id_ = added.pop("id")
    assert added == {
        "user_id": DEFAULT_USER_ID, "graph_id": graph_id, "graph_version": 1, "cron": "0 9 * * 1", "input_data": {},
        "input_credentials": {"key": {"id": "c", "title": None, "provider": "github", "type": "api_key"}},
        "name": "weekly", "timezone": "Europe/Berlin", "run_at": None, "interval_seconds": None,
    }  # fmt: skip
    assert (at.astimezone(ZoneInfo("Europe/Berlin")).hour, at.isoweekday(), at > clock.now()) == (9, 1, True)
    assert at.utcoffset() != timedelta(0)
    for filters in ({}, {"graph_id": graph_id}, {"user_id": DEFAULT_USER_ID}, {"graph_id": None, "user_id": None}):
        (listed,) = service.post("get_graph_execution_schedules", **filters).json()
        assert (listed["id"], listed["next_run_time"]) == (id_, at.isoformat())
    for filters in ({"graph_id": "other"}, {"user_id": "other"}):
        assert service.post("get_graph_execution_schedules", **filters).json() == []
    deleted = service.post("delete_graph_execution_schedule", schedule_id=id_, user_id=DEFAULT_USER_ID)
    assert (deleted.status_code, deleted.json()["id"]) == (200, id_)
    assert service.post("get_graph_execution_schedules").json() == []


def test_what_is_left_out_has_the_agreed_defaults_and_every_add_makes_another(service: Service, graph_id: str) -> None:
    first, second = service.add(graph_id), service.add(graph_id)
    assert first["id"] != second["id"]
    assert (first["name"], first["input_credentials"], first["timezone"]) == ("execute_graph", {}, "UTC")
    assert first["next_run_time"].endswith("T09:00:00+00:00")


def test_one_run_at_a_time_shows_no_cron(service: Service, graph_id: str) -> None:
    at = (clock.now() + timedelta(hours=1)).replace(microsecond=0)
    added = service.add(graph_id, cron="", run_at=at.isoformat())
    assert (added["cron"], datetime.fromisoformat(added["run_at"])) == ("", at)
    assert datetime.fromisoformat(added["next_run_time"]) == at


def test_only_the_owner_deletes(service: Service, graph_id: str) -> None:
    id_ = service.add(graph_id)["id"]
    delete = "delete_graph_execution_schedule"
    answer = service.post(delete, schedule_id=id_, user_id="somebody else")
    assert error_of(answer) == (400, "NotAuthorizedError")
    assert len(service.post("get_graph_execution_schedules").json()) == 1
    answer = service.post(delete, schedule_id="nothing", user_id=DEFAULT_USER_ID)
    assert answer.status_code == 400
    assert answer.json() == {"type": "ScheduleNotFound", "args": ["nothing"]}


@pytest.mark.parametrize("cron", ["", "* * * *", "*/0 * * * *", "60 * * * *", "0 0 31 2 *", "@reboot", "٣ * * * *"])
def test_a_bad_cron_is_refused_and_nothing_is_stored(service: Service, graph_id: str, cron: str) -> None:
    answer = service.post("add_graph_execution_schedule", **wanted(graph_id, cron=cron))
    assert error_of(answer) == (400, "InvalidError")
    assert "cron" in json.dumps(answer.json()["args"])
    assert service.post("get_graph_execution_schedules").json() == []


def test_other_arguments_that_do_not_fit_are_refused(service: Service, graph_id: str) -> None:
    add = "add_graph_execution_schedule"
    for name in ("user_id", "graph_id", "graph_version", "cron", "input_data"):
        given = wanted(graph_id)
        del given[name]
        answer = service.post(add, **given)
        assert (answer.status_code, answer.json()["detail"][0]["loc"][-1]) == (422, name)
    assert service.post(add, **wanted(graph_id, graph_version="1")).status_code == 422
    assert error_of(service.post(add, **wanted("nothing"))) == (400, "GraphNotFound")
    assert error_of(service.post(add, **wanted(graph_id, user_id="other"))) == (400, "GraphNotFound")
    for wrong in (
        {"graph_version": 2**64},
        {"user_timezone": "Mars/Base"},
        {"cron": None, "run_at": "2030-01-01T00:00:00"},
    ):
        assert error_of(service.post(add, **wanted(graph_id, **wrong))) == (400, "InvalidError")
    assert service.post("get_graph_execution_schedules").json() == []


def test_tasks_are_started_by_hand(service: Service) -> None:
    for name in ("execute_process_weekly_summary", "execute_cleanup_expired_files"):
        assert (service.post(name).status_code, service.post(name).json()) == (200, None)
    for name in ("execute_report_late_executions", "execute_report_block_error_rates"):
        assert service.post(name).json() == "not configured"
    batches = "execute_process_existing_batches"
    answer = service.post(batches, kwargs={"notification_types": ["DAILY_SUMMARY"], "cron": "0 * * * *"})
    assert (answer.status_code, answer.json()) == (200, None)
    answer = service.post(batches, kwargs={"notification_types": ["NOTHING"], "cron": "0 * * * *"})
    assert error_of(answer) == (400, "InvalidError")
    assert "kwargs.notification_types.0" in answer.text


def test_health_is_told_in_every_form(service: Service) -> None:
    for path in ("/health_check", "/health_check_async"):
        assert [service.http.get(path).json(), service.http.post(path).json()] == ["OK", "OK"]


def test_a_schedule_fires_and_its_row_tells_when_it_fires_next(service: Service, rows: Database, graph_id: str) -> None:
    at = clock.now() + timedelta(seconds=1)
    once = service.add(graph_id, cron=None, run_at=at.isoformat())
    assert until(lambda: executions(rows))[0][0] == once["id"]
    minutely = service.add(graph_id, cron="* * * * *")
    store = make_store(service.settings, Jobstores.EXECUTION)
    (job,) = [job for job in store.get_all_jobs() if job.id == minutely["id"]]
    store.shutdown()
    args = GraphExecutionJobArgs.model_validate(job.kwargs)
    assert GraphExecutionJobInfo.from_db(args, job).model_dump(mode="json") == minutely  # type: ignore[arg-type]


def test_schedules_and_tasks_outlive_a_restart(settings: Settings, database: Database) -> None:
    graph_id = stored_graph(database)
    with Service(settings) as service:
        id_ = service.add(graph_id)["id"]
    with Service(settings, register_system_tasks=False) as service:
        assert [one["id"] for one in service.post("get_graph_execution_schedules").json()] == [id_]
    store = make_store(settings, Jobstores.EXECUTION)
    tasks = {"report_late_executions", "report_block_error_rates", "cleanup_expired_files"}
    assert {job.id for job in store.get_all_jobs()} == {id_} | tasks
    store.shutdown()


def test_a_scheduler_that_registers_no_tasks_adds_none_and_ends_at_once(settings: Settings) -> None:
    with Service(settings, register_system_tasks=False) as service:
        store = make_store(settings, Jobstores.EXECUTION)
        assert store.get_all_jobs() == []
        store.shutdown()
        started = time.monotonic()
        assert service.process.stop() == 0
        assert time.monotonic() - started < 8


def test_the_client_calls_it_waiting_and_not(service: Service, graph_id: str) -> None:
    client = SchedulerClient(service.settings, port=service.process.port)
    added = client.add_execution_schedule_sync(DEFAULT_USER_ID, graph_id, 1, "@daily", {})
    assert isinstance(added, GraphExecutionJobInfo)
    assert client.execute_report_late_executions_sync() == "not configured"

    async def use() -> None:
        assert await client.get_execution_schedules(graph_id=graph_id) == [added]
        with pytest.raises(NotAuthorizedError):
            await client.delete_schedule(added.id, "somebody else")
        with pytest.raises(InvalidError, match="cron"):
            await client.add_execution_schedule(DEFAULT_USER_ID, graph_id, 1, "nonsense", {})
        assert await client.delete_schedule(added.id, DEFAULT_USER_ID) == added
        with pytest.raises(NotFoundError):
            await client.delete_schedule(added.id, DEFAULT_USER_ID)
        assert await client.health_check() == "OK"
        await client.close()

    asyncio.run(use())


def test_it_runs_alone_on_a_database_of_its_own(tmp_path: Path) -> None:
    port = free_port()
    environment = os.environ | {
        "AUTOGPT_DATA_DIR": str(tmp_path),
        "DATABASE_URL": "file:alone.db",
        "EXECUTION_SCHEDULER_PORT": str(port),
    }
    command = [sys.executable, "-m", "autogpt_server.scheduler"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE) as alone:
        try:

            def is_healthy() -> bool:
                assert alone.poll() is None, alone.stderr and alone.stderr.read().decode()
                try:
                    return httpx.get(f"http://127.0.0.1:{port}/health_check").status_code == 200
                except httpx.TransportError:
                    return False

            until(is_healthy)
            alone.send_signal(signal.SIGTERM)
            assert alone.wait(30) == 0
        finally:
            alone.kill()
    assert (tmp_path / "alone.db").exists()


def test_alone_it_waits_for_a_database_that_is_away(tmp_path: Path) -> None:
    environment = os.environ | {
        "AUTOGPT_DATA_DIR": str(tmp_path),
        "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/nothing",
        "EXECUTION_SCHEDULER_PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "autogpt_server.scheduler"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as alone:
        try:
            assert alone.stderr is not None
            tries = [line for line, _ in zip(alone.stderr, range(2), strict=False)]
            assert all("cannot start yet, trying again" in line for line in tries), tries
            assert alone.poll() is None
            alone.send_signal(signal.SIGTERM)
            assert alone.wait(30) == 0
        finally:
            alone.kill()
