"""Users are told what they want to be told, once, however targets behave and whoever dies."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from autogpt_server.data.database import Database
from autogpt_server.data.keyring import open_keyring
from autogpt_server.data.messages import QUIET, Messages
from autogpt_server.data.notifications import News, queue_notifications
from autogpt_server.data.records import Ending, Record
from autogpt_server.data.targets import Targets
from autogpt_server.data.users import Users
from autogpt_server.errors import InvalidError
from autogpt_server.model import clock
from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.model.notification import (
    WINDOW,
    Frequency,
    Message,
    MessageState,
    NotificationType,
    Preferences,
    Target,
    TargetKind,
)
from autogpt_server.notifications import channels, sending
from autogpt_server.notifications.channels import SendFailed, check_target
from autogpt_server.notifications.sending import Sender
from autogpt_server.notifications.service import hurry
from autogpt_server.notifications.summaries import queue_weekly_summaries
from autogpt_server.settings import Settings
from tests.faults.test_failing_statements import Surroundings, _suspects
from tests.notifications.receivers import Hooks, Mailbox, mail_server, web_server

FAILED = NotificationType.EXECUTION_FAILED


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as mailbox:
        yield mailbox


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with web_server() as hooks:
        yield hooks


class World:
    """A database with a user, a sender, and a wall clock that is moved by hand."""

    def __init__(self, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database, self.now = database, datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(clock, "now_ms", lambda: clock.to_ms(self.now))
        self.settings = settings.model_copy(update={"smtp_tls": "none", "allowed_networks": ("127.0.0.0/8",)})
        Users(database).ensure_default()
        Users(database).edit(DEFAULT_USER_ID, {"email": "ann@example.org", "timezone": "Europe/Berlin"})
        self.targets = Targets(database, open_keyring(settings, database))
        self.messages = Messages(database)

    def prefer(self, **frequencies: str) -> None:
        self.targets.prefer(DEFAULT_USER_ID, frequencies)

    def tell(self, kind: NotificationType = FAILED, count: int = 1, **data: Any) -> None:
        fields = {"execution_id": "e", "graph_id": "g", "error": "broken", "subject": "s", "message": "m"} | data
        with self.database.write() as c:
            news = [News(DEFAULT_USER_ID, kind, new_id(), fields) for _ in range(count)]
            queue_notifications(self.database, c, news, self.now)

    def sender(self, **changes: Any) -> Sender:
        return Sender(self.settings.model_copy(update=changes), self.database, self.targets)

    def deliver(self, sender: Sender) -> list[Message]:
        """Let a sender do what is due now, to its end."""
        sender.turn()
        sender.wait(30)
        return self.list()

    def list(self) -> list[Message]:
        return self.messages.list(DEFAULT_USER_ID, limit=500).items

    def move(self, by: timedelta) -> None:
        self.now += by

    def hook(self, hooks: Hooks, secret: str = "shared") -> Target:
        return self.add(TargetKind.WEBHOOK, hooks.url, secret)

    def add(self, kind: TargetKind, address: str, secret: str | None = None) -> Target:
        target = Target(new_id(), DEFAULT_USER_ID, kind, "x", address, secret, True, self.now)
        self.targets.add(target)
        return target


@pytest.fixture
def world(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(database, settings, monkeypatch)
    world.prefer(execution_failed="immediate")
    return world


def test_without_a_mail_server_mails_land_in_a_folder(world: World):
    world.tell()
    world.move(WINDOW)
    (message,) = world.deliver(world.sender())
    assert (message.state, message.attempt, message.total) == (MessageState.SENT, 1, 1)
    (path,) = world.settings.mails_dir.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"Subject: An execution has failed" in path.read_bytes()


def test_a_mail_has_a_text_a_page_and_nothing_that_a_value_smuggles_in(world: World, mailbox: Mailbox):
    world.tell(error="<script>alert(1)</script>\r\nBcc: eve@example.org")
    world.move(WINDOW)
    smtp = {"smtp_host": "127.0.0.1", "smtp_port": mailbox.port, "mail_from": "Agents <agents@example.org>"}
    (message,) = world.deliver(world.sender(**smtp))
    assert message.state is MessageState.SENT
    (mail,) = mailbox.mails
    assert (mail["To"], mail["From"], mail["Bcc"]) == ("ann@example.org", "Agents <agents@example.org>", None)
    assert mail["Message-ID"] == f"<{message.id}@example.org>"
    text, page = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
    assert "Execution e of graph g has failed: <script>" in text
    assert "&lt;script&gt;" in page and "<script>" not in page
    assert "11:30:00 CET" in page


def test_a_thousand_failures_give_one_mail_and_what_comes_soon_after_another(world: World):
    sender = world.sender()
    world.tell(count=1000)
    assert world.deliver(sender) == []  # others may come
    world.move(WINDOW)
    (message,) = world.deliver(sender)
    assert (message.total, message.state) == (1000, MessageState.SENT)
    (path,) = world.settings.mails_dir.iterdir()
    assert b"1,000 executions have failed" in path.read_bytes()
    assert path.stat().st_size < 50_000
    world.tell(count=5)
    world.move(WINDOW * 2)
    assert len(world.deliver(sender)) == 1
    world.move(QUIET)
    assert [one.total for one in world.deliver(sender)] == [5, 1000]


def test_what_is_told_later_waits_for_the_end_of_the_hour_or_day_of_the_user(world: World):
    wanted = {"execution_failed": "hourly", "execution_finished": "daily", "limit_reached": "never"}
    preferences = Preferences(wanted, "Europe/Berlin")
    due = {kind: preferences.due_at(kind, world.now) for kind in NotificationType}
    assert due[FAILED] == datetime(2026, 3, 2, 11, tzinfo=UTC)
    assert due[NotificationType.EXECUTION_FINISHED] == datetime(2026, 3, 2, 23, tzinfo=UTC)
    assert due[NotificationType.LIMIT_REACHED] is None
    assert due[NotificationType.SCHEDULE_PAUSED] == world.now + WINDOW
    # The day has 23 hours there.
    late = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
    assert preferences.due_at(NotificationType.EXECUTION_FINISHED, late) == datetime(2026, 3, 29, 22, tzinfo=UTC)
    assert Preferences({"execution_failed": "sometimes"}, "Mars/Base").frequencies[FAILED] is Frequency.HOURLY

    world.prefer(**wanted)
    world.tell(count=3)
    world.tell(NotificationType.LIMIT_REACHED)
    world.move(timedelta(minutes=29))
    assert world.deliver(world.sender()) == []
    world.move(timedelta(minutes=1))
    assert [one.total for one in world.deliver(world.sender())] == [3]


def test_batches_that_wait_are_sent_when_somebody_asks(world: World):
    world.prefer(execution_failed="daily", execution_finished="daily")
    world.tell()
    world.tell(NotificationType.EXECUTION_FINISHED)
    assert hurry(world.database, ["BLOCK_EXECUTION_FAILED", "REFUND_REQUEST"]) == 1
    assert [one.total for one in world.deliver(world.sender())] == [1]
    assert hurry(world.database, ["REFUND_REQUEST"]) == 0


def test_a_webhook_is_signed_and_can_tell_repeats(world: World, hooks: Hooks):
    world.hook(hooks)
    world.tell()
    world.move(WINDOW)
    (message,) = world.deliver(world.sender())
    assert message.state is MessageState.SENT, message.error
    headers, body = hooks.requests[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert headers["webhook-signature"] == "v1=" + hmac.new(b"shared", signed, hashlib.sha256).hexdigest()
    payload = json.loads(body)
    assert headers["webhook-id"] == payload["id"] == message.id
    assert payload["notifications"][0]["type"] == "execution_failed"
    assert payload["notifications"][0]["data"]["error"] == "broken"


def test_a_target_that_is_down_is_tried_again_with_growing_pauses(world: World, hooks: Hooks):
    world.hook(hooks)
    hooks.answers = [(503, {}), (429, {"Retry-After": "600"}), (500, {})]
    world.tell()
    world.move(WINDOW)
    sender, pauses = world.sender(), list[float]()
    for _ in range(3):
        (message,) = world.deliver(sender)
        assert message.state is MessageState.WAITING
        pauses.append((message.try_at - world.now).total_seconds())
        assert world.deliver(sender)[0].attempt == message.attempt  # not before
        world.now = message.try_at
    assert 20 < pauses[0] < 40 and pauses[1] >= 600 and 90 < pauses[2] < 150
    (message,) = world.deliver(sender)
    assert (message.state, message.attempt) == (MessageState.SENT, 4)
    assert len({headers["webhook-id"] for headers, _ in hooks.requests}) == 1


@pytest.mark.parametrize("status", [400, 404, 410])
def test_what_can_never_arrive_is_given_up(world: World, hooks: Hooks, status: int):
    world.hook(hooks)
    hooks.answers = [(status, {})]
    world.tell()
    world.move(WINDOW)
    (message,) = world.deliver(world.sender())
    assert (message.state, message.error) == (MessageState.FAILED, f"the webhook answered {status}")


def test_after_a_day_of_trying_a_message_is_given_up(world: World):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        world.add(TargetKind.WEBHOOK, f"http://127.0.0.1:{unused.getsockname()[1]}/s3cr3t", "s")
    world.tell()
    world.move(WINDOW)
    sender = world.sender()
    for _ in range(20):
        (message,) = world.deliver(sender)
        if message.state is MessageState.FAILED:
            break
        world.now = message.try_at
    assert message.state is MessageState.FAILED
    assert 8 <= message.attempt <= 12
    assert "s3cr3t" not in (message.error or "")


@pytest.mark.parametrize(
    ("answer", "refused", "state"),
    [
        ("451 Try later", None, MessageState.WAITING), ("554 Spam", None, MessageState.FAILED),
        (None, None, MessageState.WAITING),
        ("250 OK", "ann@example.org", MessageState.FAILED),
    ],
)  # fmt: skip
def test_a_mail_server_that_refuses_or_hangs_up(
    world: World, mailbox: Mailbox, answer: str | None, refused: str | None, state: MessageState
):
    mailbox.answer, mailbox.refused_recipient = answer, refused
    world.tell()
    world.move(WINDOW)
    sender = world.sender(smtp_host="127.0.0.1", smtp_port=mailbox.port, smtp_password=SecretStr("s3cr3t"))
    (message,) = world.deliver(sender)
    assert message.state is state
    assert message.error and "mail server" in message.error
    if state is MessageState.WAITING:
        mailbox.answer, world.now = "250 OK", message.try_at
        assert world.deliver(sender)[0].state is MessageState.SENT
        assert len(mailbox.mails) == 1


def test_a_target_that_hangs_holds_up_no_other(world: World, hooks: Hooks, monkeypatch: pytest.MonkeyPatch):
    hanging = threading.Event()
    hooks.before = lambda handler: hanging.wait(20)
    world.hook(hooks)
    with web_server() as others:
        world.hook(others)
        sender = world.sender()
        world.tell()
        world.move(WINDOW)
        sender.turn()
        until(lambda: others.requests)
        world.tell()
        world.move(QUIET)
        until(lambda: sender.turn() and len(others.requests) == 2)
        # Of what hangs one is under way, however many wait.
        assert len(hooks.requests) == 1
        hanging.set()
        sender.wait(20)


def test_what_waits_for_a_target_that_hangs_does_not_hide_what_others_wait_for(world: World, hooks: Hooks):
    hanging = threading.Event()
    hooks.before = lambda handler: hanging.wait(20)
    hung = world.hook(hooks)
    with web_server() as others:
        sender = world.sender()
        # More than are read at once, and all of them older.
        for _ in range(40):
            world.tell()
            world.move(QUIET)
            world.messages.put_together(world.now)
        world.hook(others)
        world.tell()
        world.move(QUIET)
        until(lambda: sender.turn() and others.requests and hooks.requests)
        assert len(hooks.requests) == 1
        assert len([one for one in world.list() if one.target_id == hung.id]) >= 40
        hanging.set()
        sender.wait(20)


def test_what_was_told_long_ago_is_forgotten(world: World, hooks: Hooks, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sending, "_FORGOTTEN", 2)
    world.hook(hooks)
    sender = world.sender()

    def count(table: str) -> int:
        with world.database.read() as c:
            return c.execute(f'SELECT COUNT(*) FROM "{table}"').scalar_one()

    for _ in range(3):
        world.tell()
        world.move(QUIET)
        world.deliver(sender)
    assert (count("Notification"), count("NotificationMessage")) == (3, 3)
    world.move(timedelta(days=90))
    world.tell()
    for _ in range(3):
        world.deliver(world.sender())
    # What was told just now stays.
    assert (count("Notification"), count("NotificationMessage")) == (1, 1)


def test_a_sender_that_dies_before_it_writes_what_it_sent_causes_one_repeat(
    world: World, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
):
    world.hook(hooks)
    world.tell()
    world.move(WINDOW)
    with monkeypatch.context() as dying:
        dying.setattr(Sender, "_settle", lambda *_: None)
        for sent in (1, 2):
            (message,) = world.deliver(world.sender())
            assert (message.state, len(hooks.requests)) == (MessageState.SENDING, sent)
            world.deliver(world.sender())  # nobody else takes it before its time
            assert len(hooks.requests) == sent
            world.move(sending._LEASE)
    (message,) = world.deliver(world.sender())
    assert (message.state, len(hooks.requests)) == (MessageState.FAILED, 2)
    assert "died twice" in (message.error or "")


def test_several_senders_send_each_message_once(world: World, hooks: Hooks):
    for _ in range(5):
        world.hook(hooks)
    world.tell()
    world.move(WINDOW)
    senders = [world.sender() for _ in range(4)]
    threads = [threading.Thread(target=sender.turn) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for sender in senders:
        sender.wait(20)
    assert len(world.list()) == 5
    assert len({headers["webhook-id"] for headers, _ in hooks.requests}) == len(hooks.requests) == 5


def test_executions_that_end_are_told_in_their_commit_and_parts_are_not(world: World):
    world.prefer(execution_failed="immediate", execution_finished="immediate")
    s = Surroundings(world.database)
    ending = Ending(ExecutionStatus.COMPLETED, "{}", "{}", None)
    s.record(Record(s.running[0], 1, [], ending))
    s.leases.rescue(s.lease, [], max_deaths=1, reason="killed", ran_alone=True)
    part = s.queue.claim(s.leases.register("here", 3), 9)
    assert part
    with world.database.read() as c:
        rows = c.execute('SELECT "type","key" FROM "Notification" ORDER BY "type"').all()
    assert [tuple(row) for row in rows] == [("execution_failed", s.running[1]), ("execution_finished", s.running[0])]


def test_parked_executions_are_told_and_nothing_where_nothing_is_wanted(world: World):
    world.prefer(execution_failed="never")
    s = Surroundings(world.database)
    s.leases.rescue(s.lease, _suspects(s), max_deaths=1, reason="killed")
    with world.database.read() as c:
        assert c.execute('SELECT COUNT(*) FROM "Notification"').scalar_one() == 0


def test_a_week_is_summed_up_once_in_the_zone_of_the_user(world: World):
    with world.database.write() as c:
        created = world.database.to_column(world.now - timedelta(days=30))
        c.execute(world.database.sql('UPDATE "User" SET "createdAt" = ?'), (created,))
    world.prefer(execution_failed="never")
    world.now = datetime(2026, 3, 4, 12, tzinfo=UTC)
    s = Surroundings(world.database)
    s.record_ends()
    # Monday, 08:00 in Berlin
    world.now = datetime(2026, 3, 9, 6, 59, tzinfo=UTC)
    assert queue_weekly_summaries(world.database) == 1
    assert world.deliver(world.sender()) == []
    world.now = datetime(2026, 3, 9, 7, 0, tzinfo=UTC)
    move_executions(world, datetime(2026, 3, 4, 12, tzinfo=UTC))
    for _ in range(3):
        queue_weekly_summaries(world.database)
    world.move(WINDOW)
    world.deliver(world.sender())
    summaries = [path.read_text() for path in world.settings.mails_dir.iterdir() if b"Your week" in path.read_bytes()]
    assert len(summaries) == 1
    assert "from 2026-03-02 to 2026-03-08" in summaries[0].replace("=\n", "")


def move_executions(world: World, to: datetime) -> None:
    """Let executions have been made at a time, as their ids tell it."""
    from autogpt_server.model.ids import least_id

    with world.database.write() as c:
        c.execute('DELETE FROM "AgentNodeOutput"')
        c.execute('DELETE FROM "AgentNodeExecution"')
        c.execute('UPDATE "AgentGraphExecution" SET "parentExecutionId" = NULL')
        ids = c.execute('SELECT "id" FROM "AgentGraphExecution"').scalars()
        for id_ in ids:
            new = least_id(clock.to_ms(to)) + id_[13:]
            c.execute(world.database.sql('UPDATE "AgentGraphExecution" SET "id" = ? WHERE "id" = ?'), (new, id_))


def test_addresses_and_secrets_are_stored_encrypted(world: World, hooks: Hooks, database: Database):
    target = world.hook(hooks, "very secret")
    with database.read() as c:
        row = str(c.execute('SELECT * FROM "NotificationTarget"').one())
    assert "very secret" not in row and "s3cr3t" not in row
    assert world.targets.list(DEFAULT_USER_ID) == [target]


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("webhook", "file:///etc/passwd"), ("webhook", "http://10.0.0.1/"), ("webhook", "http://[::1]/"),
        ("apprise", "dbus://"), ("apprise", "json://127.0.0.1/"), ("apprise", "nothing://x"), ("apprise", "ntfy://10.0.0.1/x"),
    ],
)  # fmt: skip
def test_addresses_that_reach_inside_are_refused(tmp_path: Any, kind: str, address: str):
    with pytest.raises(InvalidError) as refused:
        check_target(Settings(data_dir=tmp_path), kind, address)
    assert refused.value.problems[0].path == "address"


def test_apprise_sends(world: World, monkeypatch: pytest.MonkeyPatch, hooks: Hooks):
    address = hooks.url.replace("http://", "ntfy://").rpartition("/hook")[0] + "/topic"
    world.add(TargetKind.APPRISE, address)
    hooks.answers = [(200, {})]
    world.tell()
    world.move(WINDOW)
    (message,) = world.deliver(world.sender())
    assert message.state is MessageState.SENT, message.error
    assert b"An execution has failed" in hooks.requests[0][1] or "An execution has failed" in str(hooks.requests[0][0])


def until(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_webhook_that_never_ends_its_answer_is_left(world: World, hooks: Hooks, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(channels, "LIMIT", 0.9)
    stop = threading.Event()
    hooks.before = lambda handler: not stop.wait(20)
    try:
        with pytest.raises(SendFailed, match="did not answer"):
            channels.send_webhook(world.settings, hooks.url, "s", {}, "id")
    finally:
        stop.set()
