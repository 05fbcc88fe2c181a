"""The tables of the job stores are those that APScheduler itself would have made, so either may make them."""

from __future__ import annotations

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from sqlalchemy import MetaData, create_engine, inspect
from sqlalchemy.pool import StaticPool

from autogpt_server.data import sqlite
from autogpt_server.data.database import Database
from autogpt_server.data.job_tables import EXECUTION_JOBS, NOTIFICATION_JOBS


def described(engine: object, table: str) -> tuple[object, ...]:
    inspector = inspect(engine)
    columns = {one["name"]: (str(one["type"]), one["nullable"]) for one in inspector.get_columns(table)}
    indexes = [(one["name"].replace("other_", ""), one["column_names"]) for one in inspector.get_indexes(table)]
    return columns, inspector.get_pk_constraint(table)["constrained_columns"], indexes


def test_the_migrated_tables_are_those_of_apscheduler(database: Database) -> None:
    path = database.url.path
    if path is None:
        engine = create_engine(database.url.sqlalchemy)
    else:
        driver = sqlite.load_driver()
        engine = create_engine(
            "sqlite://", module=driver, creator=lambda: sqlite.connect(path, driver), poolclass=StaticPool
        )
    try:
        for table in (EXECUTION_JOBS, NOTIFICATION_JOBS):
            SQLAlchemyJobStore(engine=engine, tablename=f"other_{table}", metadata=MetaData()).jobs_t.create(engine)
            assert described(engine, table) == described(engine, f"other_{table}")
    finally:
        engine.dispose()
