"""What is wrong with a schedule is named; what was wrong with it before it was changed is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from autogpt_server.errors import InvalidError
from autogpt_server.scheduler.schedule_checks import check_times
from autogpt_server.scheduler.scheduling import NewSchedule
from tests.data.schedule_rows import NOON


def problems(**fields: Any) -> list[tuple[str, str | None]]:
    try:
        check_times(NewSchedule("g", **fields), NOON)
    except InvalidError as error:
        return [(problem.path, problem.fix) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("cron", "longest"),
    [
        ("* * * * *", 60),
        ("*/5 9-17 * * *", 300),
        ("0 9 * * 1-5", 86_400),
        ("30 12 29 2 *", 86_400),
        ("0 1,23 * * *", 7200),
        # Not on one day after the other.
        ("0 1,23 * * 1", 79_200),
        ("*/40 * * * *", 1200),
    ],
)
def test_a_jitter_lets_no_run_overtake_the_next(cron: str, longest: int) -> None:
    assert problems(cron=cron, jitter_seconds=longest) == []
    if longest < 86_400:
        assert problems(cron=cron, jitter_seconds=longest + 1) == [("jitter_seconds", f"give it at most {longest}")]


def test_a_time_without_an_offset_is_refused() -> None:
    assert problems(run_at=datetime(2027, 1, 1)) == [("run_at", "add one, like Z or +01:00")]  # noqa: DTZ001
    assert problems(run_at=NOON) == [("run_at", "give it a time in the future")]


def test_what_was_wrong_before_a_change_is_no_reason_to_refuse_it() -> None:
    before = NewSchedule("g", cron="0 9 last * *", name="")
    check_times(replace(before, max_runs=3), NOON, was=before)
    with pytest.raises(InvalidError) as refused:
        check_times(replace(before, max_runs=0), NOON, was=before)
    assert [problem.path for problem in refused.value.problems] == ["max_runs"]
    over = NewSchedule("g", run_at=NOON - timedelta(days=1))
    check_times(replace(over, name="new"), NOON, was=over)
