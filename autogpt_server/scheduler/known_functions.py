"""The functions that job rows may name, by the paths under which this server and others know them.

A job row names its function as text, so a path in the first table must never change: rows out there name it.
"""

from __future__ import annotations

#: Where the functions stand: see jobs.py.
_HERE = "autogpt_server.scheduler.jobs"
EXECUTE_GRAPH = f"{_HERE}:execute_graph"
PROCESS_EXISTING_BATCHES = f"{_HERE}:process_existing_batches"
PROCESS_WEEKLY_SUMMARY = f"{_HERE}:process_weekly_summary"
REPORT_LATE_EXECUTIONS = f"{_HERE}:report_late_executions"
REPORT_BLOCK_ERROR_RATES = f"{_HERE}:report_block_error_rates"
CLEANUP_EXPIRED_FILES = f"{_HERE}:cleanup_expired_files"
PRUNE_HISTORY = f"{_HERE}:prune_history"

#: Modules in which other deployments have or had each of them.
_ELSEWHERE = {
    EXECUTE_GRAPH: ("backend.executor.scheduler",),
    PROCESS_EXISTING_BATCHES: ("backend.executor.scheduler", "backend.monitoring.notification_monitor"),
    PROCESS_WEEKLY_SUMMARY: ("backend.executor.scheduler", "backend.monitoring.notification_monitor"),
    REPORT_LATE_EXECUTIONS: ("backend.executor.scheduler", "backend.monitoring.late_execution_monitor"),
    REPORT_BLOCK_ERROR_RATES: ("backend.executor.scheduler", "backend.monitoring.block_error_monitor"),
    CLEANUP_EXPIRED_FILES: ("backend.executor.scheduler", "backend.util.cloud_storage"),
    PRUNE_HISTORY: (),
}

#: From any path that a row may name to ours.
KNOWN_FUNCTIONS = {here: here for here in _ELSEWHERE} | {
    f"{module}:{here.rpartition(':')[2]}": here
    for here, modules in _ELSEWHERE.items()
    for module in (*modules, "backend.monitoring")
}
