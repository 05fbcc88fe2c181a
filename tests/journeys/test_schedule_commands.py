"""Schedules from the command line, as a person would make, look at and end them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from running_server import Server

from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import JobRow, put_jobs
from autogpt_server.data.urls import parse_database_url
from tests.journeys.test_run_command import LIMIT, command, graph

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def server(sqlite_server: Server) -> Server:
    """What the command line does is the same on every database."""
    return sqlite_server


@pytest.fixture
def cli(server: Server, tmp_path: Path) -> Cli:
    env = server.env | {"COLUMNS": "200"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        arguments += () if "preview" in arguments else ("--url", server.url)
        return subprocess.run(command(*arguments), env=env, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)

    return run


@pytest.fixture
def graph_id(server: Server) -> str:
    return server.store(graph("Hello", ("AgentOutputBlock", {"name": "out", "value": 1})))["id"]


def test_a_schedule_is_added_looked_at_paused_and_deleted(cli: Cli, graph_id: str) -> None:
    added = cli(
        "schedule", "add", graph_id, "--cron", "0 9 * * 1-5", "--timezone", "Europe/Berlin", "--name", "Morning",
        "--misfire", "all", "--misfire-limit", "7",
        "--overlap", "skip", "--jitter", "1m", "--exclude", "2026-12-24..2026-12-26=holidays", "--max-runs", "3",
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    schedule_id = added.stdout.strip()
    assert "It runs at 09:00 on weekdays (Europe/Berlin); next at " in added.stderr
    listed = cli("schedule", "list", "--graph", graph_id).stdout
    assert schedule_id in listed and "Morning" in listed
    shown = json.loads(cli("schedule", "show", schedule_id, "--json").stdout)
    assert (shown["overlap_policy"], shown["jitter_seconds"], shown["max_runs"]) == ("skip", 60, 3)
    assert (shown["misfire_policy"], shown["misfire_limit"]) == ("all", 7)
    assert shown["excluded_dates"] == [{"from": "2026-12-24", "to": "2026-12-26", "reason": "holidays"}]
    assert "holidays" in cli("schedule", "show", schedule_id).stdout

    assert cli("schedule", "pause", schedule_id, "--reason", "moving").stdout == "It is paused.\n"
    assert "paused: moving" in cli("schedule", "list", "--paused").stdout
    assert schedule_id not in cli("schedule", "list", "--enabled").stdout
    assert "next at" in cli("schedule", "resume", schedule_id).stderr
    assert "It has not been due yet." in cli("schedule", "slots", schedule_id).stderr

    run = cli("schedule", "run-now", schedule_id)
    assert run.returncode == 0, run.stderr
    shown_run = cli("execution", "show", run.stdout.strip(), "--follow", "--json")
    assert json.loads(shown_run.stdout)["schedule_id"] == schedule_id

    assert cli("schedule", "delete", schedule_id).stdout == "It is deleted.\n"
    gone = cli("schedule", "show", schedule_id)
    assert (gone.returncode, f"Schedule {schedule_id} not found." in gone.stderr) == (2, True)
    for odd in ("parked", "../graphs", "a b?"):
        shown = cli("schedule", "show", odd)
        assert (shown.returncode, shown.stdout) == (2, "")


def test_a_row_that_cannot_be_restored_is_looked_at_and_deleted(cli: Cli, server: Server) -> None:
    database = Database(parse_database_url(server.env["DATABASE_URL"], server.data_dir))
    with database.write() as c:
        put_jobs(database, c, [JobRow("left/over", None, b"garbage")])
    database.close()
    parked = cli("schedule", "parked").stdout
    assert "left/over" in parked and "cannot be read" in parked
    assert cli("schedule", "delete-parked", "left/over").stdout == "It is deleted.\n"
    again = cli("schedule", "delete-parked", "left/over")
    assert (again.returncode, "No job row left/over is parked." in again.stderr) == (2, True)


def test_a_schedule_fires_and_its_executions_end(cli: Cli, server: Server, graph_id: str) -> None:
    schedule_id = cli("schedule", "add", graph_id, "--every", "1s", "--max-runs", "3").stdout.strip()
    end = time.monotonic() + LIMIT
    while server.client.get(f"/schedules/{schedule_id}")["next_run_at"] is not None:
        assert time.monotonic() < end
        time.sleep(0.05)
    slots = server.client.get(f"/schedules/{schedule_id}/slots")["items"]
    assert [slot["outcome"] for slot in slots] == ["fired"] * 3
    assert "over" in cli("schedule", "list").stdout
    for slot in slots:
        ended = cli("execution", "show", slot["graph_execution_id"], "--follow", "--json")
        execution = json.loads(ended.stdout)
        assert (execution["status"], execution["scheduled_at"]) == ("COMPLETED", slot["scheduled_at"])
    assert cli("schedule", "delete", schedule_id).returncode == 0


def test_what_was_missed_is_backfilled(cli: Cli, graph_id: str) -> None:
    schedule_id = cli("schedule", "add", graph_id, "--cron", "0 0 * * *").stdout.strip()
    span = ("--from", "2026-01-01", "--to", "2026-01-03")
    told = cli("schedule", "backfill", schedule_id, *span, "--dry-run").stdout
    assert told == "It has 3 times in the range; 3 of them would run.\n"
    done = cli("schedule", "backfill", schedule_id, *span, "--max-concurrent", "2")
    assert len(done.stdout.split()) == 3, done.stderr
    again = cli("schedule", "backfill", schedule_id, *span).stdout
    assert again == "Every time in the range has an execution already.\n"
    slots = cli("schedule", "slots", schedule_id).stdout
    assert slots.count("backfill") == 3


def test_a_preview_needs_no_server(cli: Cli) -> None:
    told = cli("schedule", "preview", "0 9 * * 1-5", "--timezone", "Asia/Tokyo", "--count", "3")
    assert told.stdout.splitlines()[0] == "at 09:00 on weekdays"
    assert len(told.stdout.splitlines()) == 5
    wrong = cli("schedule", "preview", "0 25 * * *")
    assert wrong.returncode == 2
    assert "hour" in wrong.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "exactly one of the three"),
        (("--cron", "@daily", "--every", "1h"), "exactly one of the three"),
        (("--every", "often"), "is no duration"),
        (("--at", "soon"), "is no time"),
        (("--at", "2020-01-01"), "give it a time in the future"),
        (("--cron", "* * * * * *"), "seconds"),
        (("--cron", "@daily", "--timezone", "Europe/Berln"), "Europe/Berlin"),
        (("--cron", "@daily", "--exclude", "christmas"), "names no days"),
        (("--cron", "@daily", "--misfire", "never"), "misfire_policy"),
    ],
)
def test_what_is_wrong_is_told(cli: Cli, graph_id: str, options: tuple[str, ...], told: str) -> None:
    refused = cli("schedule", "add", graph_id, *options)
    assert refused.returncode == 2
    assert told in refused.stderr
    assert refused.stdout == ""
