"""Who tells users, and who restores a backup, die at each of their places."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from autogpt_server.credentials.store import CredentialStore
from autogpt_server.data.backup.backup import back_up
from autogpt_server.data.backup.restore import restore
from autogpt_server.data.database import Database
from autogpt_server.data.keyring import open_keyring
from autogpt_server.data.messages import Messages
from autogpt_server.data.notifications import News, queue_notifications
from autogpt_server.data.sealed import rotate_key
from autogpt_server.data.targets import Targets
from autogpt_server.data.users import Users
from autogpt_server.model import clock
from autogpt_server.model.credentials import ApiKeySecrets, CredentialsPin, OAuth2Secrets
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.model.notification import MessageState, NotificationType, Target, TargetKind
from autogpt_server.notifications import sending
from autogpt_server.notifications.service import NotificationManager
from autogpt_server.service.process import AppProcess
from autogpt_server.settings import Settings
from tests.credentials.provider import running_provider
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


def die_at(point: str, settings: Settings, points: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is killed at a point."""
    points.mkdir()
    (points / f"{point}.1").write_text("kill")
    env = environment(settings.data_dir, settings.database_url, AUTOGPT_CRASH_POINTS_DIR=str(points))
    code = (
        "from autogpt_server.service import crash_points; from autogpt_server.settings import Settings; "
        "crash_points.arm(Settings().crash_points_dir); from autogpt_server.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


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
    died = die_at(point, settings, points, "restore", "--yes", str(file))
    assert died.returncode == -signal.SIGKILL, died.stderr
    until(lambda: contents(database) == before)
    assert restore(settings, file).stopped == 4


@pytest.mark.parametrize("point", ["keys.added", "keys.renewed", "keys.dropped"])
def test_who_renews_the_key_dies(database: Database, settings: Settings, tmp_path: Path, point: str) -> None:
    Users(database).ensure_default()
    store = CredentialStore(settings, database)
    held = ApiKeySecrets(api_key=SecretStr("the-key"))
    kept = store.add(DEFAULT_USER_ID, "acme", "mine", held)
    died = die_at(point, settings, tmp_path / "points", "credentials", "rotate-key")
    assert died.returncode == -signal.SIGKILL, died.stderr
    keyring = open_keyring(settings, database)
    assert len(keyring.keys) == (1 if point == "keys.dropped" else 2)
    assert store.rows.open(DEFAULT_USER_ID, kept.id).held == held
    rotate_key(database, keyring, lambda _: None)
    assert store.rows.open(DEFAULT_USER_ID, kept.id).held == held
    assert len(keyring.keys) == 1


def test_who_refreshes_a_token_dies(database: Database, settings: Settings, tmp_path: Path) -> None:
    Users(database).ensure_default()
    with running_provider() as provider:
        provider.rotates = False
        settings = settings.model_copy(update={"oauth_providers_file": provider.write_file(tmp_path)})
        held = OAuth2Secrets(access_token=SecretStr("old"), refresh_token=SecretStr("refresh"))
        provider.accept("refresh")
        past = clock.now() - timedelta(seconds=1)
        kept = CredentialStore(settings, database).add(DEFAULT_USER_ID, "acme", "mine", held, expires_at=past)
        points = tmp_path / "points"
        points.mkdir()
        (points / "oauth.refreshed.1").write_text("kill")
        armed = settings.model_copy(update={"crash_points_dir": points})
        with Refreshing(armed, kept.id) as dying:
            assert dying.child.wait_gone(_LIMIT) == -signal.SIGKILL
        assert provider.refreshes == 1
        # Whoever wants it next waits until the dead one's time is over, then asks again.
        with Refreshing(settings, kept.id) as living:
            assert living.child.wait_gone(60) == 0
        assert provider.refreshes == 2
        opened = CredentialStore(settings, database).rows.open(DEFAULT_USER_ID, kept.id)
        assert opened.held.secrets() == provider.issued[2:]


class Refreshing(AppProcess):
    """Opens credentials, and ends."""

    ready_when_running = False

    def __init__(self, settings: Settings, credentials_id: str) -> None:
        super().__init__(settings)
        self._credentials_id = credentials_id

    def run(self) -> None:
        self.ready()
        store = CredentialStore(self.settings, Database.from_settings(self.settings))
        value = {"id": self._credentials_id, "provider": "acme", "type": "oauth2"}
        asyncio.run(store.open(DEFAULT_USER_ID, value, CredentialsPin(frozenset(), frozenset())))
