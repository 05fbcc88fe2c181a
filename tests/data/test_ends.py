"""However an execution ends, the metrics count the same ends as there are rows, its node executions among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autogpt_server.data.database import Database
from autogpt_server.data.metering import Metered, count_records
from autogpt_server.data.records import Ending, Record, recorder
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.telemetry import counting
from autogpt_server.telemetry.counts import read_counts
from autogpt_server.telemetry.exposition import exposition
from tests.faults.test_failing_statements import Surroundings, _suspects


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Path]:
    counting.begin(tmp_path, "Executor")
    yield counting.metrics_folder(tmp_path)
    counting.end()


def ask_to_stop(s: Surroundings) -> None:
    s.controls.stop(DEFAULT_USER_ID, s.running[0])


def stop_and_hand_back(s: Surroundings) -> None:
    ask_to_stop(s)
    s.queue.hand_back(s.lease, s.running)


def stop_and_rescue(s: Surroundings) -> None:
    ask_to_stop(s)
    s.leases.rescue(s.lease, [], max_deaths=3, reason="killed")


def park(s: Surroundings) -> None:
    s.leases.rescue(s.lease, _suspects(s), max_deaths=1, reason="killed")


def stop_and_end_the_lease(s: Surroundings) -> None:
    ask_to_stop(s)
    s.leases.end(s.lease)


def stop_and_find_orphans(s: Surroundings) -> None:
    ask_to_stop(s)
    with s.database.write() as c:
        c.execute('DELETE FROM "Executor"')
    assert s.leases.requeue_orphans() == 2


def stop_what_is_paused(s: Surroundings) -> None:
    s.controls.pause(DEFAULT_USER_ID, s.running[0])
    s.queue.hand_back(s.lease, s.running)
    ask_to_stop(s)


@pytest.mark.parametrize(
    "work",
    [
        stop_and_hand_back,
        stop_and_rescue,
        park,
        stop_and_end_the_lease,
        stop_and_find_orphans,
        stop_what_is_paused,
    ],
)
def test_counts_are_those_of_the_rows(database: Database, counted: Path, work: Callable[[Surroundings], None]) -> None:
    surroundings = Surroundings(database)
    work(surroundings)
    check(database, counted)


def test_nodes_that_an_end_finds_running_are_counted_with_it(database: Database, counted: Path) -> None:
    s = Surroundings(database)
    metered = Metered("record", recorder(database, s.lease), count_records)
    records = [Record(id_, 1, [], Ending(ExecutionStatus.FAILED, "{}", "{}", "broken")) for id_ in s.running]
    with database.write() as c:
        metered.write(c, records)
    metered.committed(records)
    check(database, counted)


def check(database: Database, counted: Path) -> None:
    text = exposition(list(read_counts(counted)), []).decode()
    found = {
        (sample.name, sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "status" in sample.labels and sample.value and "executions" in sample.name
    }
    with database.read() as c:
        finals = "('COMPLETED','FAILED','TERMINATED')"
        executions = c.execute(f'SELECT "status" FROM "AgentGraphExecution" WHERE "status" IN {finals}').scalars()
        nodes = c.execute('SELECT "status" FROM "AgentNodeExecution" WHERE "sequence" IS NOT NULL').scalars()
    assert executions
    assert nodes
    expected = {("autogpt_executions_total", status): count for status, count in Counter(executions).items()}
    expected |= {("autogpt_node_executions_total", status): count for status, count in Counter(nodes).items()}
    assert found == expected


def test_what_fails_although_it_was_asked_to_stop_has_been_stopped(database: Database, counted: Path) -> None:
    """A part that was stopped by the same request makes it fail, and may be quicker than its own stop."""
    s = Surroundings(database)
    ask_to_stop(s)
    metered = Metered("record", recorder(database, s.lease), count_records)
    records = [
        Record(id_, 1, [], Ending(ExecutionStatus.FAILED, "{}", "{}", "a part was stopped")) for id_ in s.running
    ]
    with database.write() as c:
        metered.write(c, records)
    metered.committed(records)
    check(database, counted)
    with database.write() as c:
        # Once more, as when nobody knows whether it was stored.
        assert metered.write(c, records) == [True, True]
    with database.read() as c:
        text = 'SELECT "id","status","error" FROM "AgentGraphExecution"'
        ends = {row[0]: (row[1], row[2]) for row in c.execute(text) if row[0] in s.running}
    first, second = s.running
    assert ends == {first: ("TERMINATED", "stopped on request"), second: ("FAILED", "a part was stopped")}
