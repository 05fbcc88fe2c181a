"""Counts: files that outlive their processes, and sums that never go backwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autogpt_server.data.metering import count_records
from autogpt_server.data.node_rows import NodeRow
from autogpt_server.data.records import Ending, Record
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.telemetry import counting
from autogpt_server.telemetry.counts import Counts, read_counts
from autogpt_server.telemetry.exposition import exposition
from autogpt_server.telemetry.measures import CLAIM_LAG, EXECUTIONS, STARTS

_COUNT_THEN_WAIT = """
import sys
from pathlib import Path
from autogpt_server.telemetry.counts import Counts
from autogpt_server.telemetry.measures import EXECUTIONS
Counts(Path(sys.argv[1]), "Executor").add(EXECUTIONS, 5, "COMPLETED")
print("counted", flush=True)
sys.stdin.read()
"""


def samples(folder: Path) -> dict[tuple[str, ...], float]:
    """What Prometheus would read: name and values of the labels."""
    text = exposition(list(read_counts(folder)), []).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_several_processes_count_is_one_sum_and_survives_a_kill(tmp_path: Path) -> None:
    # given two processes that have counted
    command = [sys.executable, "-c", _COUNT_THEN_WAIT, str(tmp_path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"counted\n"
    before = samples(tmp_path)
    assert before["autogpt_executions_total", "COMPLETED"] == 10
    assert before["autogpt_processes", "Executor"] == 2

    # when one is killed
    os.kill(processes[0].pid, signal.SIGKILL)
    with processes[0]:
        pass

    # then it does not live any more, and its counts stay
    assert samples(tmp_path)["autogpt_executions_total", "COMPLETED"] == 10
    assert samples(tmp_path)["autogpt_processes", "Executor"] == 1

    # and its successor goes on in its file
    successor = Counts(tmp_path, "Executor")
    successor.add(EXECUTIONS, 1, "COMPLETED")
    after = samples(tmp_path)
    assert after["autogpt_executions_total", "COMPLETED"] == 11
    assert after["autogpt_process_starts_total", "Executor"] == 3
    assert after["autogpt_processes", "Executor"] == 2
    assert len(list(tmp_path.iterdir())) == 2
    successor.close()
    with processes[1] as process:
        process.communicate()


def test_bounds_of_a_histogram_hold_what_is_at_or_below_them(tmp_path: Path) -> None:
    counts = Counts(tmp_path, "Executor")
    counts.observe(CLAIM_LAG, [0.001, 0.0011, 2000.0, -5.0])
    found = samples(tmp_path)
    assert found["autogpt_claim_lag_seconds_bucket", "0.001"] == 2
    assert found["autogpt_claim_lag_seconds_bucket", "0.0025"] == 3
    assert found["autogpt_claim_lag_seconds_bucket", "1800.0"] == 3
    assert found["autogpt_claim_lag_seconds_bucket", "+Inf"] == 4
    assert found["autogpt_claim_lag_seconds_count",] == 4
    assert found["autogpt_claim_lag_seconds_sum",] == pytest.approx(2000.0021)
    counts.close()


def test_a_damaged_file_begins_anew_and_keeps_no_process_from_starting(tmp_path: Path) -> None:
    (tmp_path / "Executor-0.db").write_bytes(b"\xff\xff\x00\x00" + b"\x7f" * 3000)
    assert list(read_counts(tmp_path)) == []
    counts = Counts(tmp_path, "Executor")
    assert samples(tmp_path)[STARTS.name + "_total", "Executor"] == 1
    counts.close()


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Path]:
    counting.begin(tmp_path, "Executor")
    yield counting.metrics_folder(tmp_path)
    counting.end()


def _record(n: int) -> Record:
    nodes = [NodeRow(f"{n}.{i}", "node", "COMPLETED", "{}", 1, 0, 0, sequence=i) for i in range(10)]
    nodes.append(NodeRow(f"{n}.10", "node", "RUNNING", "{}", 1, 0, 0))
    return Record(str(n), 1, nodes, Ending(ExecutionStatus.COMPLETED, "{}", "{}", None))


def test_a_commit_counts_ends_only_and_only_those_that_were_written(counted: Path) -> None:
    assert count_records([_record(1), _record(2)], [True, False]) == 12
    found = samples(counted)
    assert found["autogpt_node_executions_total", "COMPLETED"] == 10
    assert ("autogpt_node_executions_total", "RUNNING") not in found
    assert found["autogpt_executions_total", "COMPLETED"] == 1


def test_counting_costs_less_than_a_microsecond_per_node_execution(counted: Path) -> None:
    records = [_record(n) for n in range(50)]
    results = [True] * len(records)
    best = 1.0
    for _ in range(20):
        began = time.perf_counter()
        count_records(records, results)
        best = min(best, time.perf_counter() - began)
    assert best / 500 < 1e-6


def test_a_forked_child_neither_counts_nor_keeps_its_parents_file(counted: Path) -> None:
    (read, write), (has_counted, say) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        counting.add(EXECUTIONS, 7, "COMPLETED")
        os.write(say, b".")
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    try:
        os.read(has_counted, 1)
        counting.end()
        assert samples(counted)["autogpt_processes", "Executor"] == 0
        assert ("autogpt_executions_total", "COMPLETED") not in samples(counted)
    finally:
        os.close(write)
        os.waitpid(child, 0)
        for fd in (read, has_counted, say):
            os.close(fd)
