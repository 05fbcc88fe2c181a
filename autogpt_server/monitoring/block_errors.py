"""Reports blocks that fail too often."""

from __future__ import annotations

from datetime import timedelta

from autogpt_server.data.block_counts import BlockStats, prune_block_counts, read_block_stats
from autogpt_server.data.database import Database
from autogpt_server.model import clock
from autogpt_server.model.alert import AlertKind, Finding
from autogpt_server.monitoring.telling import tell
from autogpt_server.settings import Settings

#: Hours that are looked at.
_HOURS = 24
#: Node executions below which a rate says nothing.
_FEWEST = 10
#: Points of a rate, in hundredths, that make it worse.
_STEP = 10


def report_block_error_rates(settings: Settings, database: Database) -> str:
    """Compare how often each block failed within a day with the threshold, keep an alert for each that is above it,
    and return a report: those, or the ones that failed most.

    Counts that are too old to be asked for are deleted.
    """
    now = clock.now()
    stats = [one for one in read_block_stats(database, now - timedelta(hours=_HOURS)) if one.executions >= _FEWEST]
    above = [one for one in stats if one.error_rate >= settings.block_error_rate_threshold]
    findings = [
        Finding(AlertKind.BLOCK_ERROR_RATE, one.block_name, None, _describe(one), int(one.error_rate * 100) // _STEP)
        for one in above
    ]
    tell(database, AlertKind.BLOCK_ERROR_RATE, findings, now)
    prune_block_counts(database, now)
    threshold = f"{settings.block_error_rate_threshold:.0%}"
    if above:
        return "\n".join(
            (f"Blocks with an error rate of {threshold} or more in the last {_HOURS} hours:", *_lines(above))
        )
    top = [one for one in stats if one.failures][: settings.block_error_include_top_blocks]
    if not top:
        return f"No block failed in the last {_HOURS} hours."
    head = f"No block has an error rate of {threshold} or more in the last {_HOURS} hours. Those that failed most:"
    return "\n".join((head, *_lines(top)))


def _lines(stats: list[BlockStats]) -> list[str]:
    return [f"* {one.block_name}: {_describe(one)}" for one in stats]


def _describe(one: BlockStats) -> str:
    return f"{one.failures:,} of {one.executions:,} node executions failed ({one.error_rate:.1%})"
