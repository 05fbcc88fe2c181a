"""Everything that is counted: names, meanings and labels, as docs/operating.md lists them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counter:
    """Only grows.  ``name`` is without the ``_total`` that Prometheus puts behind it."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lay at or below each bound, and their sum."""

    name: str
    help: str
    bounds: tuple[float, ...]
    labels: tuple[str, ...] = ()


_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WAITS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

ACCEPTED = Counter("autogpt_executions_accepted", "Executions that were accepted.")
CLAIM_LAG = Histogram(
    "autogpt_claim_lag_seconds", "From the acceptance of an execution to its first claim by an executor.", _WAITS
)
EXECUTIONS = Counter("autogpt_executions", "Executions that ended, by final status.", ("status",))
NODE_EXECUTIONS = Counter("autogpt_node_executions", "Node executions that ended, by final status.", ("status",))
COMMIT_ROWS = Histogram(
    "autogpt_commit_rows",
    "Rows of one group commit: executions (accept), or node executions and ends (record).",
    (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000),
    ("kind",),
)
COMMIT_SECONDS = Histogram(
    "autogpt_commit_seconds",
    "Time of one group commit, from its first statement until it is on disk; waiting for the write lock is not in it.",
    _SECONDS,
    ("kind",),
)
EVENT_LAG = Histogram(
    "autogpt_event_lag_seconds",
    "From the writing of an execution's end to its event being handed to the connection of a reader who waits.",
    _SECONDS,
)
HTTP_SECONDS = Histogram(
    "autogpt_http_request_seconds",
    "HTTP requests, from their arrival to the first byte of the answer.",
    _SECONDS,
    ("method", "route", "status"),
)
BEATS = Counter("autogpt_executor_beats", "Signs of life that executors gave while they committed nothing else.")
STARTS = Counter("autogpt_process_starts", "Starts of processes; what exceeds their number are restarts.", ("process",))
DEATHS = Counter("autogpt_executor_deaths", "Executor processes that ended in disorder and were replaced.")
RESCUED = Counter("autogpt_executions_rescued", "Executions that were taken from a dead executor and queued again.")

WRITE_FAILURES = Counter(
    "autogpt_database_write_failures", "Transactions that the database did not take: disk full, locked or away."
)

COUNTERS = (ACCEPTED, EXECUTIONS, NODE_EXECUTIONS, BEATS, STARTS, DEATHS, RESCUED, WRITE_FAILURES)
HISTOGRAMS = (CLAIM_LAG, COMMIT_ROWS, COMMIT_SECONDS, EVENT_LAG, HTTP_SECONDS)
