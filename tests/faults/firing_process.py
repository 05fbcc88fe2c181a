"""A process that does nothing but fire schedules, until its input ends: ``DATABASE_URL DATA_DIR POINTS_DIR``."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from make_settings import make_settings

from autogpt_server.data.announcements import Announcements
from autogpt_server.data.database import Database
from autogpt_server.events.nudge import Nudger
from autogpt_server.scheduler.timers import Timers
from autogpt_server.service import crash_points


def main() -> None:
    url, data_dir, points = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    crash_points.arm(points)
    database = Database.from_settings(make_settings(data_dir, url))
    timers = Timers(database, Nudger(data_dir), timedelta(seconds=1))
    announcements = Announcements(database.url, timers.hear)
    # Before: it may die as soon as it fires.
    print("fires", flush=True)
    timers.start()
    announcements.start()
    sys.stdin.read()
    timers.stop()
    announcements.stop()


if __name__ == "__main__":
    main()
