"""``SchedulerClient``: the scheduler's methods by the names under which other services know them."""

from __future__ import annotations

from autogpt_server.scheduler.service import Scheduler
from autogpt_server.service.client import close_client, endpoint_to_async, get_service_client
from autogpt_server.settings import Settings

__all__ = ["SchedulerClient"]


class SchedulerClient:
    """Calls the scheduler; every method awaits, those that end with ``_sync`` block.

    One serves all threads and event loops of a process.  What calls raise: see ``get_service_client``.

    Args:
        settings: Where the scheduler is; by default as the environment says.
        port: Where it listens, when not on the port of the settings.
    """

    def __init__(self, settings: Settings | None = None, *, port: int | None = None) -> None:
        client = self._client = get_service_client(Scheduler, settings, port=port)
        self.add_execution_schedule = endpoint_to_async(client.add_graph_execution_schedule)
        self.add_execution_schedule_sync = client.add_graph_execution_schedule
        self.delete_schedule = endpoint_to_async(client.delete_graph_execution_schedule)
        self.delete_schedule_sync = client.delete_graph_execution_schedule
        self.get_execution_schedules = endpoint_to_async(client.get_graph_execution_schedules)
        self.get_execution_schedules_sync = client.get_graph_execution_schedules
        self.execute_process_existing_batches = endpoint_to_async(client.execute_process_existing_batches)
        self.execute_process_existing_batches_sync = client.execute_process_existing_batches
        self.execute_process_weekly_summary = endpoint_to_async(client.execute_process_weekly_summary)
        self.execute_process_weekly_summary_sync = client.execute_process_weekly_summary
        self.execute_report_late_executions = endpoint_to_async(client.execute_report_late_executions)
        self.execute_report_late_executions_sync = client.execute_report_late_executions
        self.execute_report_block_error_rates = endpoint_to_async(client.execute_report_block_error_rates)
        self.execute_report_block_error_rates_sync = client.execute_report_block_error_rates
        self.execute_cleanup_expired_files = endpoint_to_async(client.execute_cleanup_expired_files)
        self.execute_cleanup_expired_files_sync = client.execute_cleanup_expired_files
        self.execute_prune_history = endpoint_to_async(client.execute_prune_history)
        self.execute_prune_history_sync = client.execute_prune_history
        self.health_check = client.health_check_async
        self.health_check_sync = client.health_check

    async def close(self) -> None:
        """Close the connections of threads and of this event loop."""
        await close_client(self._client)
