"""Who tells users, and who restores a backup, die at each of their places."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autogpt_server.data.backup.backup import back_up
from autogpt_server.data.backup.restore import restore
from autogpt_server.data.database import Database
from autogpt_server.data.keyring import open_keyring
from autogpt_server.data.messages import Messages
from autogpt_server.data.notifications import News, queue_notifications
from autogpt_server.data.targets import Targets
from autogpt_server.data.users import Users
from autogpt_server.model import clock
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.model.notification import MessageState, NotificationType, Target, TargetKind
from autogpt_server.notifications import sending
from autogpt_server.notifications.service import NotificationManager
from autogpt_server.settings import Settings
from tests.data.backup.test_backup import contents
from tests.faults.test_failing_statements import Surroundings
from tests.notifications.receivers import web_server
from tests.running_server import ROOT, environment

_LIMIT = 40.0


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + _LIMIT
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.02)


@pytest.mark.parametrize("point", ["message.claimed", "message.sent"])
def test_who_tells_users_dies(database: Database, settings: Settings, tmp_path: Path, point: str) -> None:
    Users(database).ensure_default()
    points = tmp_path / "points"
    points.mkdir()
    changes = {"notification_port": 0, "crash_points_dir": points, "allowed_networks": ("127.0.0.0/8",)}
    settings = settings.model_copy(update=changes)
    with web_server() as hooks:
        now = clock.from_ms(clock.now_ms())
        target = Target(new_id(), DEFAULT_USER_ID, TargetKind.WEBHOOK, "x", hooks.url, "s", True, now)
        Targets(database, open_keyring(settings, database)).add(target)
        data = {"subject": "s", "message": "m"}
        news = [News(DEFAULT_USER_ID, NotificationType.BLOCK_ERROR_RATE, "k", data)]
        with database.write() as c:
            queue_notifications(database, c, news, now)
        (points / f"{point}.1").write_text("kill")
        with NotificationManager(settings) as dying:
            dying.child.wait_gone(_LIMIT)
        assert dying.child.exit_code == -signal.SIGKILL
        # Its claim holds until somebody must be believed dead; that need not be waited for.
        with database.write() as c:
            at = database.to_column(clock.now() - sending._LEASE)
            c.execute(database.sql('UPDATE "NotificationMessage" SET "tryAt" = ?'), (at,))
        messages = Messages(database)
        with NotificationManager(settings):
            until(lambda: messages.list(DEFAULT_USER_ID, limit=1).items[0].state is MessageState.SENT)
        sent = [headers["webhook-id"] for headers, _ in hooks.requests]
        assert len(sent) == (2 if point == "message.sent" else 1)
        assert len(set(sent)) == 1


@pytest.mark.parametrize("point", ["restore.emptied", "restore.filled", "restore.written"])
def test_who_restores_dies(database: Database, settings: Settings, tmp_path: Path, point: str) -> None:
    surroundings, file, points = Surroundings(database), tmp_path / "backup", tmp_path / "points"
    back_up(settings, file)
    surroundings.accept(2)
    before = contents(database)
    points.mkdir()
    (points / f"{point}.1").write_text("kill")
    env = environment(settings.data_dir, settings.database_url, AUTOGPT_CRASH_POINTS_DIR=str(points))
    code = (
        "from autogpt_server.service import crash_points; from autogpt_server.settings import Settings; "
        "crash_points.arm(Settings().crash_points_dir); from autogpt_server.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "restore", "--yes", str(file)]
    died = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert died.returncode == -signal.SIGKILL, died.stderr
    until(lambda: contents(database) == before)
    assert restore(settings, file).stopped == 4
