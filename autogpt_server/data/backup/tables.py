"""Which tables a backup holds, in an order in which they can be filled, and what their columns hold."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from autogpt_server.data.connection import Connection
from autogpt_server.data.database import Database
from autogpt_server.model import clock

#: Whatever another one refers to comes before it.
TABLES = (
    "User",
    "ApiKey",
    "AgentBlock",
    "AgentGraph",
    "AgentNode",
    "AgentNodeLink",
    "AgentGraphExecution",
    "AgentNodeExecution",
    "AgentNodeOutput",
    "AgentExecutionSchedule",
    "AgentScheduleSlot",
    "BlockExecutionCount",
    "SystemTaskRun",
    "Alert",
    "FileDefinition",
    "Credential",
    "OAuthLogin",
    "NotificationTarget",
    "Notification",
    "NotificationMessage",
    "apscheduler_jobs",
    "apscheduler_jobs_batched_notifications",
)
#: Leases of processes that are no more, and what the database knows of its own tables.
LEFT_OUT = ("Executor", "_prisma_migrations")

_COLUMNS = {
    "sqlite": "SELECT name, type FROM pragma_table_info(?) ORDER BY cid",
    "postgresql": (
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_name = ? AND table_schema = current_schema() ORDER BY ordinal_position"
    ),
}


def columns_of(db: Database, c: Connection, table: str) -> dict[str, str]:
    """Read the columns of a table, with their types as the database calls them, in lower case."""
    return {row[0]: str(row[1]).lower() for row in c.execute(db.sql(_COLUMNS[db.provider]), (table,)).all()}


def to_json(value: Any) -> Any:
    """Write a value of any column so that both kinds of databases can read it; times as milliseconds since 1970."""
    if isinstance(value, datetime):
        return clock.to_ms(value.replace(tzinfo=UTC))
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    return value


def reader(db: Database, kind: str) -> Callable[[Any], Any]:
    """Make what reads the values of a column again, for this kind of database."""
    if "bool" in kind:
        return lambda value: None if value is None else bool(value)
    if db.provider == "postgresql" and kind.startswith("timestamp"):
        return lambda value: None if value is None else clock.from_ms(value).replace(tzinfo=None)
    return _bytes if kind in ("blob", "bytea") else _same


def _bytes(value: Any) -> Any:
    return None if value is None else base64.b64decode(value["base64"])


def _same(value: Any) -> Any:
    return value
