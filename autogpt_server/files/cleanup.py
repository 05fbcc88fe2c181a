"""Removes files whose time is over, and what broken uploads left behind.

A wrong clock must not delete what is still wanted.  So a file is deleted only by a run at least an hour after the run
that first found it expired, and never by a time that lies beyond what other clocks say: the time since the start of
the machine, counted from the start of this process, and the database's own.
"""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autogpt_server.data.files import FileRows
from autogpt_server.errors import Unavailable
from autogpt_server.files.files import Files
from autogpt_server.model import clock
from autogpt_server.model.file import File

log = logging.getLogger(__name__)

#: Between the run that finds a file expired and the one that deletes it.
GRACE = timedelta(hours=1)
#: After so long an object without a row is no upload that is under way.
_ORPHANED = timedelta(days=1)
#: Keys of files: two ids, and perhaps what an upload that is under way has behind them.
_OURS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.[^/]+)?")
#: Files in one step.
_BATCH = 200
#: Names that a report lists.
_LISTED = 100
#: What clocks that go right may differ by.
_TOLERANCE = timedelta(minutes=1)


@dataclass(slots=True)
class Cleanup:
    """What a clean-up did, or would do."""

    deleted: int = 0
    bytes: int = 0
    orphans: int = 0
    #: What the storage did not delete; the next run tries again.
    failed: int = 0
    #: Some of the names.
    names: list[str] = field(default_factory=list[str])
    is_dry: bool = False
    #: How far the clock is ahead of others, where it is.
    ahead: timedelta | None = None

    def __str__(self) -> str:
        what = "would be deleted" if self.is_dry else "deleted"
        text = f"{self.deleted:,} files ({self.bytes:,} bytes) and {self.orphans:,} leftovers {what}"
        if self.failed:
            text += f"; {self.failed:,} could not be deleted and are tried again"
        if self.ahead is not None:
            text += f"; the clock is {self.ahead.total_seconds():,.0f} s ahead of others, which were believed"
        return text


class SteadyClock:
    """The wall clock, as it would be had nobody set it since this was made.  Counts while the machine sleeps."""

    def __init__(self) -> None:
        self._began, self._since = clock.now(), _since_boot()

    def now(self) -> datetime:
        return self._began + timedelta(seconds=_since_boot() - self._since)


def clean_up(files: Files, steady: SteadyClock, *, dry_run: bool = False) -> Cleanup:
    """Delete what is to go, in bounded steps.  May be repeated, and ended at any line.

    Args:
        files: Of all users.
        steady: Kept since the start of the process.
        dry_run: Only tell what would go.
    """
    done = Cleanup(is_dry=dry_run)
    now = _careful_now(files.rows, steady, done)
    if not dry_run:
        files.rows.mark_expired(now)
    after = ""
    while batch := files.rows.to_delete(now, now - GRACE, after=after, limit=_BATCH):
        after = batch[-1].id
        gone = [file for file in batch if _delete(lambda key=file.storage_key: files.store.delete(key), done)]
        _note(gone, done)
        if not dry_run:
            files.rows.remove([file.id for file in gone])
    try:
        _remove_orphans(files, now - _ORPHANED, done)
    except Unavailable as error:
        log.warning("leftovers in the storage cannot be looked for: %s", error)
    return done


def _careful_now(rows: FileRows, steady: SteadyClock, done: Cleanup) -> datetime:
    present = clock.now()
    others = [steady.now(), rows.now_of_database()]
    earliest = min(other for other in (present, *others) if other is not None)
    if present - earliest > _TOLERANCE:
        done.ahead = present - earliest
        log.warning("the clock is %s ahead of others; files expire by those", done.ahead)
    return earliest


def _delete(delete: Callable[[], None], done: Cleanup) -> bool:
    if done.is_dry:
        return True
    try:
        delete()
    except (Unavailable, ValueError) as error:
        # The others are not to wait for it.
        done.failed += 1
        log.warning("a file cannot be deleted from the storage, the next clean-up tries again: %s", error)
        return False
    return True


def _note(gone: list[File], done: Cleanup) -> None:
    done.deleted += len(gone)
    done.bytes += sum(file.size for file in gone)
    done.names += [file.name for file in gone][: _LISTED - len(done.names)]


def _remove_orphans(files: Files, before: datetime, done: Cleanup) -> None:
    # Only what looks like a file of a server: the place may hold other things.
    old = (found for found in files.store.objects() if found.modified_at < before and _OURS.fullmatch(found.key))
    while batch := list(itertools.islice(old, _BATCH)):
        known = files.rows.known_keys([found.key for found in batch])
        for found in batch:
            if found.key not in known and _delete(lambda key=found.key: files.store.delete(key), done):
                done.orphans += 1


def _since_boot() -> float:
    # Unlike the monotonic clock it counts while the machine sleeps; other systems than Linux have none.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
