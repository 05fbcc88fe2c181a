"""A thousand alerts at once, and executions while the target that hears of them is dead."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import timedelta

from autogpt_server.data.keyring import open_keyring
from autogpt_server.data.messages import Messages
from autogpt_server.data.notifications import News, queue_notifications
from autogpt_server.data.targets import Targets
from autogpt_server.model import clock
from autogpt_server.model.ids import DEFAULT_USER_ID, new_id
from autogpt_server.model.notification import NotificationType, Target, TargetKind
from autogpt_server.notifications.sending import Sender
from autogpt_server.settings import Settings
from benchmarks.bench import Bench
from benchmarks.figures import Figure, median_and_late
from benchmarks.graphs import chain
from benchmarks.works.single import milliseconds

_TYPE = NotificationType.LIMIT_REACHED


def measure(bench: Bench) -> Iterator[Figure]:
    database, settings = bench.database, Settings(data_dir=bench.folder)
    targets = Targets(database, open_keyring(settings, database))
    number, now = bench.amount(1_000, 10), clock.now()
    data = {"subject": "s", "message": "m"}
    targets.prefer(DEFAULT_USER_ID, {_TYPE.value: "immediate", "execution_finished": "immediate"})
    began = time.perf_counter()
    with database.write() as c:
        queue_notifications(database, c, [News(DEFAULT_USER_ID, _TYPE, new_id(), data) for _ in range(number)], now)
    written = time.perf_counter()
    yield Figure(f"writing {number:,} notifications in one transaction", ((written - began) * 1000,), "ms")
    # The server's own would be as quick, and looks every three seconds only.
    messages = Messages(database).put_together(now + timedelta(seconds=10))
    together = time.perf_counter()
    yield Figure(f"putting {number:,} together", ((together - written) * 1000,), "ms", notes=(f"{messages} message",))
    usual, _ = median_and_late(milliseconds(bench, chain(1), bench.amount(200, 5)))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        targets.add(Target(new_id(), DEFAULT_USER_ID, TargetKind.WEBHOOK, "deaf", address, "s", True, now))
        sender = Sender(settings.model_copy(update={"allowed_networks": ("127.0.0.0/8",)}), database, targets)
        sender.turn()
        beside, _ = median_and_late(milliseconds(bench, chain(1), bench.amount(200, 5)))
    note = f"{beside / usual:.2f} x without one ({usual:.3g} ms)"
    yield Figure("an execution that is told to a dead target, p50", (beside,), "ms", notes=(note,))
