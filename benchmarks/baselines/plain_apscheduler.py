"""APScheduler as it comes, with its SQLAlchemyJobStore on SQLite: what schedules cost without us.

Run as ``plain_apscheduler.py DATABASE_FILE STORED DUE``; prints JSON.  Its job function does nothing but note when it
ran, so this is the least that a scheduler of this kind needs.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.events import EVENT_JOB_MISSED
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

ran: list[float] = []
_lock = threading.Lock()
#: Seconds that the jobs which are due may take.
_PATIENCE = 60.0


def note() -> None:
    with _lock:
        ran.append(time.time())


def main() -> None:
    url, stored, count = f"sqlite:///{sys.argv[1]}", int(sys.argv[2]), int(sys.argv[3])
    scheduler: Any = BackgroundScheduler(timezone=UTC)
    scheduler.add_jobstore(SQLAlchemyJobStore(url=url))
    missed: list[object] = []
    scheduler.add_listener(missed.append, EVENT_JOB_MISSED)
    # Its warnings about each job that it drops.
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    scheduler.start(paused=True)
    times: list[float] = []
    far = datetime.now(UTC) + timedelta(days=30)
    for i in range(stored):
        began = time.perf_counter()
        scheduler.add_job(note, "cron", minute=i % 60, hour=i % 24, start_date=far, id=str(i))
        times.append(time.perf_counter() - began)
    began = time.perf_counter()
    scheduler.get_jobs()
    listed = time.perf_counter() - began
    # Enough to add them all before they are due.
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3 + count * (times[-1] if times else 0.005) * 2)
    for i in range(count):
        scheduler.add_job(note, "date", run_date=due, id=f"due-{i}")
    scheduler.resume()
    end = time.monotonic() + _PATIENCE + (due - datetime.now(UTC)).total_seconds()
    while len(ran) + len(missed) < count and time.monotonic() < end:
        time.sleep(0.005)
    scheduler.shutdown(wait=False)
    last = max(ran) - due.timestamp() if ran else float("nan")
    add = sorted(times)[len(times) // 2] if times else float("nan")
    result = {"last_ms": last * 1000, "dropped": len(missed), "add_ms": add * 1000, "list_ms": listed * 1000}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
