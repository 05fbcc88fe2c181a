"""The real process of ``NotificationManager``: what it answers over RPC, and that it sends by itself."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from autogpt_server.data.database import Database
from autogpt_server.data.notifications import News, queue_notifications
from autogpt_server.data.users import Users
from autogpt_server.model import clock
from autogpt_server.model.ids import DEFAULT_USER_ID
from autogpt_server.model.notification import NotificationType
from autogpt_server.notifications.service import NotificationManager
from tests.make_settings import make_settings


def test_it_sends_what_is_due_and_takes_orders(tmp_path: Path, sqlite_url: str):
    settings = make_settings(tmp_path, sqlite_url).model_copy(update={"notification_port": 0})
    database = Database.from_settings(settings)
    Users(database).ensure_default()
    with database.write() as c:
        data = {"execution_id": "e", "graph_id": "g", "error": ""}
        news = [News(DEFAULT_USER_ID, NotificationType.EXECUTION_FAILED, "e", data)]
        queue_notifications(database, c, news, clock.now())
    with NotificationManager(settings) as manager:
        with httpx.Client(base_url=f"http://127.0.0.1:{manager.port}") as http:
            assert http.get("/health_check").json() == "OK"
            assert http.post("/queue_weekly_summary", json={}).json() == 1
            # It would wait for the end of the hour.
            types = {"notification_types": ["BLOCK_EXECUTION_FAILED"]}
            assert http.post("/process_existing_batches", json=types).json() == 1
            assert http.post("/process_existing_batches", json=types).json() == 0
        end = time.monotonic() + 20
        while not (mails := list(settings.mails_dir.glob("*.eml"))):
            assert time.monotonic() < end
            time.sleep(0.05)
    assert len(mails) == 1
    assert manager.child.exit_code == 0
    database.close()
