# APScheduler has no types of its own; these are the ones that autogpt_server.scheduler builds on.
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore
from sqlalchemy import ColumnElement, Engine, Table

class SQLAlchemyJobStore(BaseJobStore):
    engine: Engine
    jobs_t: Table
    def __init__(
        self,
        url: str | None = None,
        *,
        engine: Engine | None = None,
        tablename: str = ...,
        tableschema: str | None = ...,
    ) -> None: ...
    def _get_jobs(self, *conditions: ColumnElement[bool]) -> list[Job]: ...
    def _reconstitute_job(self, job_state: bytes) -> Job: ...
