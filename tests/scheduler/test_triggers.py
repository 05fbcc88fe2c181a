from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from autogpt_server.errors import InvalidError
from autogpt_server.scheduler.triggers import UnixCronTrigger

NOW = datetime(2025, 3, 29, 12, tzinfo=UTC)


def times(trigger: UnixCronTrigger, now: datetime, count: int) -> list[str]:
    found: list[str] = []
    previous = None
    for _ in range(count):
        previous = trigger.get_next_fire_time(previous, now)
        if previous is None:
            break
        now = previous
        found.append(previous.isoformat())
    return found


def test_it_is_a_cron_trigger_of_apscheduler_that_fires_as_unix_cron_does() -> None:
    trigger = UnixCronTrigger("30 2 * * *", "Europe/Berlin")
    assert isinstance(trigger, CronTrigger)
    assert times(trigger, NOW, 2) == ["2025-03-30T03:00:00+02:00", "2025-03-31T02:30:00+02:00"]
    assert times(UnixCronTrigger("0 9 * * 1"), NOW, 1) == ["2025-03-31T09:00:00+00:00"]


def test_the_first_time_may_be_now_and_the_next_lies_after_the_previous_one() -> None:
    trigger = UnixCronTrigger("0 12 * * *")
    assert trigger.get_next_fire_time(None, NOW) == NOW
    assert trigger.get_next_fire_time(None, NOW + timedelta(microseconds=1)) == NOW + timedelta(days=1)
    assert trigger.get_next_fire_time(NOW, NOW + timedelta(seconds=2)) == NOW + timedelta(days=1)


def test_missed_times_are_handed_out_one_by_one_for_the_scheduler_to_judge() -> None:
    trigger = UnixCronTrigger("0 12 * * *")
    assert trigger.get_next_fire_time(NOW, NOW + timedelta(days=10)) == NOW + timedelta(days=1)


def test_a_clock_that_was_put_back_does_not_bring_a_time_again() -> None:
    trigger = UnixCronTrigger("0 12 * * *")
    assert trigger.get_next_fire_time(NOW, NOW - timedelta(hours=3)) == NOW + timedelta(days=1)


def test_now_in_any_zone_is_the_same_now() -> None:
    trigger = UnixCronTrigger("0 9 * * *", "Asia/Kathmandu")
    east = NOW.astimezone(timezone(timedelta(hours=9)))
    found = trigger.get_next_fire_time(None, east)
    assert found is not None
    assert found.isoformat() == "2025-03-30T09:00:00+05:45"
    assert trigger.get_next_fire_time(found.astimezone(UTC), east) == found + timedelta(days=1)


def test_nothing_fires_before_the_start_and_after_the_end_and_both_belong_to_it() -> None:
    start, end = datetime(2025, 4, 1, 9, tzinfo=UTC), datetime(2025, 4, 3, 9, tzinfo=UTC)
    trigger = UnixCronTrigger("0 9 * * *", start_date=start, end_date=end)
    assert times(trigger, NOW, 9) == [f"2025-04-0{day}T09:00:00+00:00" for day in (1, 2, 3)]
    assert trigger.get_next_fire_time(None, end + timedelta(seconds=1)) is None


def test_jitter_puts_a_time_off_within_its_seconds_and_never_beyond_the_end() -> None:
    end = NOW + timedelta(seconds=5)
    for _ in range(50):
        found = UnixCronTrigger("0 12 * * *", jitter=30).get_next_fire_time(None, NOW)
        bounded = UnixCronTrigger("0 12 * * *", jitter=30, end_date=end).get_next_fire_time(None, NOW)
        assert found is not None
        assert bounded is not None
        assert NOW <= found <= NOW + timedelta(seconds=30)
        assert NOW <= bounded <= end
    jittered = NOW + timedelta(seconds=20)
    following = UnixCronTrigger("0 12 * * *", jitter=1).get_next_fire_time(jittered, jittered)
    assert following is not None
    assert following >= NOW + timedelta(days=1)


@pytest.mark.parametrize("arguments", [("0 25 * * *",), ("0 9 * * *", "Europe/Berln")])
def test_what_is_not_valid_makes_no_trigger(arguments: tuple[str, ...]) -> None:
    with pytest.raises(InvalidError):
        UnixCronTrigger(*arguments)


def test_bounds_without_a_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="must be aware"):
        UnixCronTrigger("0 9 * * *", start_date=datetime(2025, 1, 1))  # noqa: DTZ001


TRIGGERS = [
    UnixCronTrigger("0 9 * * 1-5", "Europe/Berlin"),
    UnixCronTrigger("@daily"),
    UnixCronTrigger("*/5 * * * *", "America/New_York", start_date=NOW, end_date=NOW + timedelta(days=9), jitter=7),
]


@pytest.mark.parametrize("trigger", TRIGGERS, ids=str)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_trigger_is_small_and_the_same_again(trigger: UnixCronTrigger, protocol: int) -> None:
    pickled = pickle.dumps(trigger, protocol)
    again = pickle.loads(pickled)
    assert len(pickled) < 400
    assert (again, hash(again), str(again), repr(again)) == (trigger, hash(trigger), str(trigger), repr(trigger))
    assert (again.start_date, again.end_date, again.jitter) == (trigger.start_date, trigger.end_date, trigger.jitter)
    assert times(UnixCronTrigger("0 9 * * *"), NOW, 3) == times(
        pickle.loads(pickle.dumps(UnixCronTrigger("0 9 * * *"))), NOW, 3
    )


def test_triggers_differ_in_each_of_their_parts() -> None:
    one = UnixCronTrigger("0 9 * * *", "UTC")
    others = [
        UnixCronTrigger("0 8 * * *", "UTC"),
        UnixCronTrigger("0 9 * * *", "Europe/Berlin"),
        UnixCronTrigger("0 9 * * *", start_date=NOW),
        UnixCronTrigger("0 9 * * *", end_date=NOW),
        UnixCronTrigger("0 9 * * *", jitter=1),
    ]
    assert all(one != other for other in others)
    assert one != CronTrigger(hour="9", minute="0", timezone="UTC")
    assert one == UnixCronTrigger(" 0  9 * * *")


def test_a_trigger_tells_what_it_is() -> None:
    trigger = UnixCronTrigger("0 9 * * 1-5", "Europe/Berlin", end_date=NOW, jitter=7)
    assert str(trigger) == "cron[0 9 * * 1-5, Europe/Berlin]"
    assert repr(trigger) == (
        "<UnixCronTrigger ('0 9 * * 1-5', timezone='Europe/Berlin', end_date='2025-03-29 12:00:00+00:00', jitter='7')>"
    )


def test_the_state_of_a_newer_server_is_refused() -> None:
    trigger = UnixCronTrigger("0 9 * * *")
    with pytest.raises(ValueError, match="by a newer server"):
        trigger.__setstate__(trigger.__getstate__() | {"version": 2})


def test_a_plain_apscheduler_in_another_process_restores_the_row_and_knows_when_it_is_due(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    store = SQLAlchemyJobStore(url=url)
    scheduler = BackgroundScheduler(jobstores={"execution": store}, timezone=UTC)
    scheduler.start(paused=True)
    scheduler.add_job(
        logging.info,
        UnixCronTrigger("0 0 13 * 5", "Europe/Berlin"),
        args=["due"],
        id="friday",
        jobstore="execution",
    )
    stored = scheduler.get_job("friday", "execution").next_run_time
    scheduler.shutdown()
    store.engine.dispose()

    reader = (
        "import sys\n"
        "from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore\n"
        "from apscheduler.schedulers.background import BackgroundScheduler\n"
        "stores = {'execution': SQLAlchemyJobStore(url=sys.argv[1])}\n"
        "scheduler = BackgroundScheduler(jobstores=stores, timezone='Asia/Tokyo')\n"
        "scheduler.start(paused=True)\n"
        "job = scheduler.get_job('friday', 'execution')\n"
        "print(job.trigger, job.next_run_time.isoformat(), sep='|')\n"
        "print(job.trigger.get_next_fire_time(job.next_run_time, job.next_run_time).isoformat())\n"
    )
    command = [sys.executable, "-c", reader, url]
    result = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert result.returncode == 0, result.stderr
    expected = UnixCronTrigger("0 0 13 * 5", "Europe/Berlin").get_next_fire_time(stored, stored)
    assert expected is not None
    assert result.stdout.splitlines() == [
        f"cron[0 0 13 * 5, Europe/Berlin]|{stored.isoformat()}",
        expected.isoformat(),
    ]
