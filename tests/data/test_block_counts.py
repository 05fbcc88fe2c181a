"""The hourly counts: every end of a node once, whatever becomes of the commit that holds it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autogpt_server.data.block_counts import KEPT_DAYS, BlockStats, prune_block_counts, read_block_stats
from autogpt_server.data.database import Database
from autogpt_server.data.records import Record, recorder
from autogpt_server.errors import Unavailable
from autogpt_server.model import clock
from tests.faults.test_failing_statements import Surroundings, _suspects


def ended(s: Surroundings, number: int = 0, status: str = "COMPLETED") -> Record:
    row = s.row(s.running[number], ends=True)
    row.status, row.block = status, "RecordingBlock"
    return Record(s.running[number], 1, [row])


def stats(database: Database) -> list[BlockStats]:
    return read_block_stats(database, clock.now() - timedelta(hours=1))


def test_ends_and_failures_are_added_up_by_block(database: Database):
    s = Surroundings(database)
    s.record(ended(s, 0))
    s.record(ended(s, 1, "FAILED"))
    assert stats(database) == [BlockStats("RecordingBlock", 2, 1)]
    assert stats(database)[0].error_rate == 0.5


@pytest.mark.parametrize("was_committed", [True, False])
def test_a_record_that_is_written_again_counts_once(database: Database, was_committed: bool):
    s = Surroundings(database)
    record = ended(s)
    try:
        with database.write() as c:
            recorder(database, s.lease)(c, [record])
            if not was_committed:
                raise Unavailable("gone")
    except Unavailable:
        pass
    s.record(record)
    assert stats(database) == [BlockStats("RecordingBlock", 1, 0)]


def test_a_node_that_ends_with_its_dead_executor_counts_as_failed(database: Database):
    s = Surroundings(database)
    s.leases.rescue(s.lease, _suspects(s), max_deaths=1, reason="killed")
    assert stats(database) == [BlockStats("RecordingBlock", 1, 1)]


def test_old_counts_go(database: Database):
    s = Surroundings(database)
    s.record(ended(s))
    assert prune_block_counts(database, clock.now() + timedelta(days=KEPT_DAYS - 1)) == 0
    assert prune_block_counts(database, clock.now() + timedelta(days=KEPT_DAYS + 1)) == 1
    assert stats(database) == []
