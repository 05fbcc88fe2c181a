"""Logging set-up: structlog over the standard library, with the execution's ids on every record.

Human lines on a terminal, JSON otherwise.  Inputs, outputs and secrets are never logged.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Literal, TextIO

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, merge_contextvars, unbind_contextvars

__all__ = ["bind_contextvars", "bound_contextvars", "configure", "unbind_contextvars"]


def configure(process: str, level: str = "info", style: Literal["auto", "human", "json"] = "auto") -> None:
    """Send every record of this process, those of libraries too, to standard error.

    Args:
        process: Name of the process, put on every record.
        level: Lowest level that is written.
        style: ``auto`` means human lines on a terminal and JSON otherwise.
    """
    human = style == "human" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if human else "iso", utc=not human),
        _named(process),
    ]
    renderer: list[structlog.typing.Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                pad_event_to=0,
                # The prettier ones print local variables, inputs and secrets among them.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if human
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = _OwnStreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    for old in root.handlers:
        if isinstance(old, _OwnStreamHandler):
            old.close()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Talkative ones; prisma's records hold whole queries, and the database's address with its password.
    for noisy in ("httpx", "httpcore", "uvicorn.access", "asyncio", "prisma"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _OwnStreamHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error by a descriptor of its own: a block that closes ``sys.stderr`` must not silence us."""

    def __init__(self) -> None:
        super().__init__(os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the library's name)
        """Lose a record rather than break whoever wrote it."""

    def close(self) -> None:
        super().close()
        self.stream.close()


def _named(process: str) -> structlog.typing.Processor:
    def add(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["process"] = process
        return event

    return add
