"""``Scheduler`` as the server runs it: with what its system tasks do."""

from __future__ import annotations

from collections.abc import Mapping

from autogpt_server.data.database import Database
from autogpt_server.data.retention import prune
from autogpt_server.files.cleanup import SteadyClock, clean_up
from autogpt_server.files.files import Files
from autogpt_server.monitoring.block_errors import report_block_error_rates
from autogpt_server.monitoring.drift import NO_DRIFT, report_drift
from autogpt_server.monitoring.late_executions import report_late_executions
from autogpt_server.notifications.service import hurry
from autogpt_server.notifications.summaries import queue_weekly_summaries
from autogpt_server.scheduler import service
from autogpt_server.scheduler.jobs import Task
from autogpt_server.scheduler.rpc_models import NotificationJobArgs
from autogpt_server.settings import Settings


class Scheduler(service.Scheduler):
    """The scheduler, and in ``ports`` the rooms that it does not know."""

    def ports(self, database: Database) -> Mapping[str, Task]:
        return make_ports(self.settings, database)


def make_ports(settings: Settings, database: Database) -> Mapping[str, Task]:
    """Say what the system tasks do, by the names that ``jobs.bind`` takes."""

    def late_executions() -> str:
        report = report_late_executions(settings, database)
        drift = report_drift(database)
        return report if drift == NO_DRIFT else f"{report}\n{drift}"

    files, steady = Files(settings, database), SteadyClock()

    def existing_batches(arguments: NotificationJobArgs) -> str:
        number = hurry(database, [kind.value for kind in arguments.notification_types])
        return f"{number:,} notifications are sent now"

    return {
        "process_existing_batches": existing_batches,
        "process_weekly_summary": lambda: f"{queue_weekly_summaries(database):,} users were looked at",
        "cleanup_expired_files": lambda: str(clean_up(files, steady)),
        "report_late_executions": late_executions,
        "prune_history": lambda: str(
            prune(
                database,
                executions_days=settings.retention_executions_days,
                slots_days=settings.retention_slots_days,
            )
        ),
        "report_block_error_rates": lambda: report_block_error_rates(settings, database),
    }
