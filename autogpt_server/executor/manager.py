"""``ExecutionManager``: the service that owns this machine's executor processes."""

from __future__ import annotations

import logging
from typing import Any

from pydantic import StrictInt

from autogpt_server.blocks.registry import load_registry
from autogpt_server.data.database import Database
from autogpt_server.executor.pool import ExecutorPool
from autogpt_server.executor.submit import Submitter
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.service.run_folder import open_run_folder
from autogpt_server.service.service import AppService, expose
from autogpt_server.settings import Settings
from autogpt_server.telemetry import counting

log = logging.getLogger(__name__)


class ExecutionManager(AppService):
    """Accepts executions from other services, and keeps the executor pool running in its main thread."""

    port_setting = "EXECUTION_MANAGER_PORT"

    _pool: ExecutorPool | None = None
    _submitter: Submitter | None = None
    _database: Database | None = None

    @classmethod
    def get_port(cls, settings: Settings) -> int:
        return settings.execution_manager_port

    async def startup(self) -> None:
        # A setting that names blocks which cannot be used stops the start here, before every executor stumbles over it.
        load_registry(self.settings.blocks)
        self._database = Database.from_settings(self.settings)
        self._submitter = Submitter(self.settings, self._database)

    async def shutdown(self) -> None:
        if self._submitter is not None:
            await self._submitter.close()

    def run_service(self) -> None:
        assert self._database is not None
        counting.begin(open_run_folder(self.settings), self.name)
        self.stop_seconds = self.settings.drain_seconds + 15
        self._pool = ExecutorPool(self.settings, self._database)
        self._pool.run(
            self.stopping.is_set,
            lambda: log.info("%d executor processes claim", len(self.executor_pids())),
            self.pulse.part(),
        )

    def cleanup(self) -> None:
        if self._pool is not None:
            self._pool.stop()
        if self._database is not None:
            self._database.close()

    @expose
    async def add_execution(
        self,
        graph_id: str,
        data: dict[str, Any],
        user_id: str = DEFAULT_USER_ID,
        graph_version: StrictInt | None = None,
        idempotency_key: str | None = None,
        priority: StrictInt = 0,
    ) -> dict[str, str]:
        """Accept an execution; when this returns, it is durable.

        Args:
            graph_id: What to execute.
            data: Values by input name, or by pin where the graph has no input blocks.
            user_id: Who executes; must own the graph.
            graph_version: None takes the active one.
            idempotency_key: A second call of the user with this key answers with the first execution.
            priority: Of the user's executions that wait, those with a higher one start first; from -100 to 100.

        Returns:
            ``{"id", "status"}`` of the execution.

        Raises:
            GraphNotFound, InvalidError, ConflictError, Unavailable: As ``Submitter.submit``.
        """
        assert self._submitter is not None
        execution_id, status = await self._submitter.submit(
            user_id, graph_id, data, version=graph_version, idempotency_key=idempotency_key, priority=priority
        )
        return {"id": execution_id, "status": status}

    @expose(safe=True)
    async def cancel_execution(self, execution_id: str, user_id: str = DEFAULT_USER_ID) -> ExecutionStatus:
        """Ask an execution to stop, and return its status after that.  Harmless when repeated or too late.

        Raises:
            ExecutionNotFound: Unknown, or another user's.
        """
        assert self._submitter is not None
        return (await self._submitter.stop(user_id, execution_id)).status

    @expose(safe=True)
    def executor_pids(self) -> list[int]:
        """Process ids of the executors that run now."""
        return self._pool.pids if self._pool is not None else []
