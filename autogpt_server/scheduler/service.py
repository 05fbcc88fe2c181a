"""``Scheduler``: the service that fires schedules, and has the server's own tasks done."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from apscheduler.schedulers.blocking import BlockingScheduler
from pydantic import StrictInt, ValidationError

from autogpt_server.data.announcements import Announcements
from autogpt_server.data.database import Database
from autogpt_server.data.direct_url import direct_database_url
from autogpt_server.data.slots import Slots
from autogpt_server.data.task_runs import TaskRuns
from autogpt_server.errors import InvalidError, Problem, Unavailable
from autogpt_server.events.nudge import Nudger, NudgeReceiver, Topic
from autogpt_server.model.schedule import Schedule
from autogpt_server.scheduler import jobs
from autogpt_server.scheduler.listening import listen
from autogpt_server.scheduler.reconcile import Reconciler
from autogpt_server.scheduler.rpc_models import (
    BlockInput,
    CredentialsMetaInput,
    GraphExecutionJobInfo,
    NotificationJobArgs,
)
from autogpt_server.scheduler.scheduling import NewSchedule, Scheduling
from autogpt_server.scheduler.stores import AWAY, JobStore, Jobstores, MemoryStore, make_store
from autogpt_server.scheduler.system_tasks import STORED_IDS, mend, register
from autogpt_server.scheduler.task_ledger import on_request, recorded
from autogpt_server.scheduler.task_scheduler import TaskScheduler
from autogpt_server.scheduler.timers import Timers
from autogpt_server.service.pulse import Part
from autogpt_server.service.run_folder import open_run_folder
from autogpt_server.service.service import AppService, expose
from autogpt_server.settings import Settings
from autogpt_server.telemetry import counting

log = logging.getLogger(__name__)

#: Slots that are fired later than this were missed: what becomes of them is for the schedule to say.
_GRACE = timedelta(seconds=10)
#: Seconds without an answer of the database, or a turn of the timers, after which the service is of no use.
_SILENT_SECONDS = 15.0
#: Seconds between two tries to reach the database at the start.
_RETRY_SECONDS = 1.0


class Scheduler(AppService):
    """Fires schedules in a thread (timers.py), and runs APScheduler, which has the system tasks done, in the main one.

    Args:
        settings: By default those of the environment.
        register_system_tasks: Whether the server's own tasks are added to the job stores.
    """

    port_setting = "EXECUTION_SCHEDULER_PORT"

    scheduler: BlockingScheduler | None = None

    _database: Database | None = None
    _scheduling: Scheduling | None = None
    _timers: Timers | None = None
    _tasks: JobStore | None = None
    _nudges: NudgeReceiver | None = None
    _announcements: Announcements | None = None
    _reconciler: Reconciler | None = None
    _nudger: Nudger | None = None
    _turning: Part | None = None
    #: When the database answered last, by a clock that nobody sets, and why it does not.
    _seen_at: float | None = None
    _trouble: str | None = None

    def __init__(self, settings: Settings | None = None, *, register_system_tasks: bool = True) -> None:
        super().__init__(settings)
        self.register_system_tasks = register_system_tasks

    @classmethod
    def get_port(cls, settings: Settings | None = None) -> int:
        return (settings or Settings()).execution_scheduler_port

    @classmethod
    def db_pool_size(cls, settings: Settings | None = None) -> int:
        """Connections of each job store that is kept in a table."""
        return (settings or Settings()).scheduler_db_pool_size

    def ports(self, database: Database) -> Mapping[str, jobs.Task]:
        """Tell what the system tasks do, by the names that ``jobs.bind`` takes.  Called in the scheduler's process."""
        return {}

    async def startup(self) -> None:
        run_folder = open_run_folder(self.settings)
        self._database = Database.from_settings(self.settings)
        for name, task in self.ports(self._database).items():
            jobs.bind(name, recorded(name, task, TaskRuns(self._database)))
        self._nudger = Nudger(run_folder)
        self._timers = Timers(self._database, self._nudger, _GRACE)
        self._scheduling = Scheduling(self._database, self._announce)
        self._announcements = Announcements(direct_database_url(self.settings), self._timers.hear)
        self._reconciler = Reconciler(self._database, self._announce, self._keep_tasks)
        self._nudges = NudgeReceiver(run_folder, Topic.SCHEDULES, f"scheduler-{os.getpid()}")
        await self._nudges.open(self._timers.hear)

    async def shutdown(self) -> None:
        if self._nudges is not None:
            self._nudges.close()

    def run_service(self) -> None:
        assert self._database is not None
        counting.begin(open_run_folder(self.settings), self.name)
        self._turning = self.pulse.part()
        if not self._await_database():
            return
        self.scheduler = self._make_scheduler(self._database, self._turning)
        if not self._register_tasks(self.scheduler):
            return
        self._start_threads()
        # Returns when the service is to stop.
        self.scheduler.start()

    def cleanup(self) -> None:
        for thread in (self._announcements, self._reconciler, self._timers):
            if thread is not None:
                thread.stop()
        if self.scheduler is not None and self.scheduler.running:
            # A task that runs is left where it is: its thread ends with the process.
            self.scheduler.shutdown(wait=False)
        if self._nudger is not None:
            self._nudger.close()
        if self._database is not None:
            self._database.close()

    @expose(safe=True)
    def health_check(self) -> str:
        timers = self._timers
        if timers is None or self.scheduler is None or not self.scheduler.running:
            raise Unavailable("the scheduler has not started yet" if self._trouble is None else self._trouble)
        if self._trouble is not None:
            raise Unavailable(self._trouble)
        now = time.monotonic()
        if self._seen_at is None or now - self._seen_at > _SILENT_SECONDS:
            raise Unavailable(f"the database has not answered for {_SILENT_SECONDS:g} s")
        if timers.trouble is not None:
            raise Unavailable(f"schedules are not fired: {timers.trouble}")
        if not timers.is_alive or timers.last_turn is None or now - timers.last_turn > _SILENT_SECONDS:
            raise Unavailable(f"the thread that fires schedules has not turned for {_SILENT_SECONDS:g} s")
        return "OK"

    @expose
    def add_graph_execution_schedule(
        self,
        user_id: str,
        graph_id: str,
        graph_version: StrictInt,
        cron: str | None,
        input_data: BlockInput,
        input_credentials: dict[str, CredentialsMetaInput] | None = None,
        name: str | None = None,
        user_timezone: str | None = None,
        run_at: datetime | None = None,
    ) -> GraphExecutionJobInfo:
        """Schedule executions of a graph; each call makes another schedule.

        Args:
            user_id: Whose; must own the graph.
            graph_id: What is executed.
            graph_version: Which version of it.
            cron: A Unix cron expression; nothing where ``run_at`` is given.
            input_data: Values by input name.
            input_credentials: By input name.
            name: Of the schedule; by default ``execute_graph``.
            user_timezone: IANA name of the zone in which the cron expression is read; by default UTC.
            run_at: The one time to execute it, aware, instead of a cron expression.

        Raises:
            GraphNotFound: Unknown, or another user's.
            InvalidError: Something of it is wrong; names each field. Nothing was stored.
        """
        schedule = self._ready_scheduling().create(
            user_id,
            NewSchedule(
                graph_id,
                cron=None if run_at is not None and not cron else cron,
                run_at=run_at,
                name=name,
                graph_version=graph_version,
                timezone=user_timezone or "UTC",
                inputs=input_data,
                credentials={key: one.model_dump(mode="json") for key, one in (input_credentials or {}).items()},
            ),
        )
        return GraphExecutionJobInfo.from_schedule(schedule)

    @expose
    def delete_graph_execution_schedule(self, schedule_id: str, user_id: str) -> GraphExecutionJobInfo:
        """Delete a schedule for good; returns it as it was.

        Raises:
            ScheduleNotFound: There is none by that id.
            NotAuthorizedError: It is another user's.
        """
        deleted = self._ready_scheduling().delete(user_id, schedule_id, tells_owner=True)
        return GraphExecutionJobInfo.from_schedule(deleted)

    @expose(safe=True)
    def get_graph_execution_schedules(
        self, graph_id: str | None = None, user_id: str | None = None
    ) -> list[GraphExecutionJobInfo]:
        """Tell which schedules will fire: of a graph, of a user, of both, or all of them."""
        return list(_told(self._ready_scheduling().firing(user_id, graph_id)))

    @expose
    def execute_process_existing_batches(self, kwargs: dict[str, Any]) -> None:
        """Send the batches of notifications that wait now; takes what ``NotificationJobArgs`` says.

        Raises:
            InvalidError: The arguments are not those.
        """
        try:
            NotificationJobArgs.model_validate(kwargs)
        except ValidationError as error:
            problems = [
                Problem(".".join(("kwargs", *map(str, each["loc"]))), each["msg"])
                for each in error.errors(include_input=False)
            ]
            raise InvalidError("The batches cannot be processed.", problems) from error
        with on_request():
            jobs.process_existing_batches(**kwargs)

    @expose
    def execute_process_weekly_summary(self) -> None:
        """Queue the weekly summaries now."""
        with on_request():
            jobs.process_weekly_summary()

    @expose
    def execute_report_late_executions(self) -> str:
        """Report executions that have been waiting for too long now; returns the report."""
        with on_request():
            return jobs.report_late_executions() or ""

    @expose
    def execute_report_block_error_rates(self) -> str:
        """Report blocks that fail too often now; returns the report."""
        with on_request():
            return jobs.report_block_error_rates() or ""

    @expose
    def execute_cleanup_expired_files(self) -> None:
        """Remove files whose time is over now."""
        with on_request():
            jobs.cleanup_expired_files()

    @expose
    def execute_prune_history(self) -> str:
        """Delete what is older than it is to be kept now; returns what that was."""
        with on_request():
            return jobs.prune_history() or ""

    def _ready_scheduling(self) -> Scheduling:
        assert self._scheduling is not None
        return self._scheduling

    def _announce(self, ids: list[str]) -> None:
        """Tell who fires schedules, here and in other processes of this machine, that some have changed."""
        assert self._timers is not None and self._nudger is not None
        self._timers.hear(ids)
        self._nudger.send(Topic.SCHEDULES, ids)

    def _make_scheduler(self, database: Database, turning: Part) -> TaskScheduler:
        execution = self._tasks = make_store(self.settings, Jobstores.EXECUTION, STORED_IDS)
        stores = {
            Jobstores.EXECUTION.value: execution,
            Jobstores.BATCHED_NOTIFICATIONS.value: make_store(self.settings, Jobstores.BATCHED_NOTIFICATIONS),
            Jobstores.WEEKLY_NOTIFICATIONS.value: MemoryStore(),
        }
        scheduler = TaskScheduler(stores, Slots(database), self.stopping, turning, self.pulse.pause, self._probe)
        listen(scheduler)
        return scheduler

    def _register_tasks(self, scheduler: TaskScheduler) -> bool:
        """Add the system tasks as soon as the database lets it; returns whether that was before the stop."""
        while self.register_system_tasks and self._tasks is not None:
            try:
                register(scheduler, self.settings, self._tasks)
            except AWAY as error:
                # It answered a moment ago.
                log.warning("cannot start yet, trying again: %s", error)
            else:
                break
            if self.stopping.wait(_RETRY_SECONDS) or not self._await_database():
                return False
        return True

    def _keep_tasks(self) -> None:
        """Give tasks jobs again whose rows somebody has deleted, or that would not run for years."""
        scheduler, tasks = self.scheduler, self._tasks
        # Before it runs it adds them by itself.
        if self.register_system_tasks and tasks is not None and scheduler is not None and scheduler.running:
            mend(scheduler, self.settings, tasks)

    def _start_threads(self) -> None:
        assert self._timers is not None and self._announcements is not None and self._reconciler is not None
        self._reconciler.start()
        self._timers.start(self.pulse)
        self._announcements.start()

    def _await_database(self) -> bool:
        """Wait until the database answers; returns whether it did before the stop."""
        self._probe()
        while self._trouble is not None:
            log.warning("cannot start yet, trying again: %s", self._trouble)
            if self.stopping.wait(_RETRY_SECONDS):
                return False
            self._probe()
        return True

    def _probe(self) -> None:
        """See whether the database answers, for health to tell."""
        assert self._database is not None and self._turning is not None
        with self._turning.excused():
            try:
                with self._database.read() as c:
                    c.execute('SELECT 1 FROM "AgentScheduleSlot" LIMIT 1')
            except Unavailable as error:
                self._trouble = str(error)
            else:
                self._trouble, self._seen_at = None, time.monotonic()


def _told(schedules: Iterable[Schedule]) -> Iterator[GraphExecutionJobInfo]:
    for one in schedules:
        try:
            yield GraphExecutionJobInfo.from_schedule(one)
        except ValueError as error:
            # Somebody wrote into the table; the others are to be told nevertheless.
            log.error("schedule %s is left out of a list: %s", one.id, error)
