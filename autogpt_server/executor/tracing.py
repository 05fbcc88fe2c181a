"""Makes spans of what was committed: an execution is a trace, a node execution a span in it.

In a thread of its own, after the commit, from the rows that became durable.  Nothing waits for it; what it cannot take
in or send is dropped.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable
from functools import lru_cache

from autogpt_server.data.database import Database
from autogpt_server.data.node_rows import NodeRow
from autogpt_server.data.records import Record
from autogpt_server.data.trace_facts import ExecutionFacts, read_block_names, read_execution_facts
from autogpt_server.errors import Unavailable
from autogpt_server.model.clock import now_ms
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import id_ms
from autogpt_server.telemetry.otlp import FinishedSpan, OtlpSender, SpanId
from autogpt_server.telemetry.span_ids import span_id, trace_id

log = logging.getLogger(__name__)

#: Commits that may wait; beyond them spans are dropped.
_MOST_WAITING = 1000
#: Graph versions whose block names are kept.
_KEPT_VERSIONS = 256


class Tracing:
    """The spans of one executor."""

    def __init__(self, sender: OtlpSender, database: Database) -> None:
        self._sender, self._db = sender, database
        self._waiting: queue.Queue[tuple[int, list[Record]] | None] = queue.Queue(_MOST_WAITING)
        self._names = lru_cache(_KEPT_VERSIONS)(lambda *version: read_block_names(database, *version))
        self._thread = threading.Thread(target=self._work, name="traces", daemon=True)
        self._thread.start()

    def take(self, records: Iterable[Record]) -> None:
        """Queue what was committed just now.  Never waits."""
        try:
            self._waiting.put_nowait((now_ms(), list(records)))
        except queue.Full:
            log.debug("spans are dropped: the database or the receiver is too slow")

    def close(self) -> None:
        """Send what waits."""
        self._waiting.put(None)
        self._thread.join()
        self._sender.close()

    def _work(self) -> None:
        while (taken := self._waiting.get()) is not None:
            try:
                self._send(*taken)
            except Unavailable as error:
                log.warning("the spans of a commit are dropped: %s", error)
            except Exception:
                # Whatever is wrong with one commit, the thread must outlive it.
                log.exception("the spans of a commit are dropped")

    def _send(self, committed_ms: int, records: list[Record]) -> None:
        facts = read_execution_facts(self._db, {record.execution_id for record in records})
        for record in records:
            found = facts.get(record.execution_id)
            if found is None:
                continue
            names = self._names(found.graph_id, found.graph_version)
            for node in record.nodes:
                if node.sequence is not None:
                    self._sender.send(_node_span(record.execution_id, node, names.get(node.node_id, node.node_id)))
            if record.ending is not None:
                self._sender.send(_execution_span(record, found, committed_ms))


def _root(execution_id: str) -> SpanId:
    return SpanId(trace_id(execution_id), span_id(execution_id))


def _node_span(execution_id: str, node: NodeRow, name: str) -> FinishedSpan:
    is_well = node.status == ExecutionStatus.COMPLETED
    return FinishedSpan(
        SpanId(trace_id(execution_id), span_id(node.id)),
        name,
        node.started_ms,
        node.started_ms if node.ended_ms is None else node.ended_ms,
        parent=_root(execution_id),
        attributes={
            "autogpt.node_execution.id": node.id,
            "autogpt.node.id": node.node_id,
            "autogpt.status": node.status,
            "autogpt.attempt": node.attempt,
            "autogpt.tries": node.tries,
        },
        error=None if is_well else node.error or node.status,
    )


def _execution_span(record: Record, facts: ExecutionFacts, committed_ms: int) -> FinishedSpan:
    ending = record.ending
    assert ending is not None
    attributes: dict[str, str | int] = {
        "autogpt.execution.id": record.execution_id,
        "autogpt.graph.id": facts.graph_id,
        "autogpt.graph.version": facts.graph_version,
        "enduser.id": facts.user_id,
        "autogpt.status": ending.status.value,
        "autogpt.attempt": record.attempt,
    }
    related = {
        "autogpt.parent_execution.id": facts.parent_execution_id,
        "autogpt.rerun_of.id": facts.rerun_of_id,
    }
    attributes |= {name: value for name, value in related.items() if value is not None}
    return FinishedSpan(
        _root(record.execution_id),
        "execution",
        id_ms(record.execution_id),
        committed_ms,
        links=[_root(other) for other in related.values() if other is not None],
        attributes=attributes,
        error=None if ending.status is ExecutionStatus.COMPLETED else ending.error or ending.status.value,
    )
