"""Tells the processes that show executions what a commit is about to change, and then that it has."""

from __future__ import annotations

from dataclasses import replace

from autogpt_server.data.drafts import DRAFT_PREFIX, Draft
from autogpt_server.events.nudge import Nudger, Topic


class Drafting:
    """Names drafts and sends them.  Used by the thread that commits, alone.

    Args:
        nudger: Sends.
        lease_id: Of this executor; makes names unique.
    """

    def __init__(self, nudger: Nudger, lease_id: str) -> None:
        self._nudger, self._prefix = nudger, f"{DRAFT_PREFIX}{lease_id}."
        self._count = 0
        self._last: Draft | None = None

    def send(self, draft: Draft | None) -> None:
        """Send what is about to be written, if that helps; what was sent before is void."""
        self._last = None
        if draft is None or not draft.is_worthwhile:
            return
        self._count += 1
        self._last = replace(draft, name=f"{self._prefix}{self._count}")
        self._nudger.send_data(Topic.DRAFTS, self._last.pack())

    def tell_durable(self, execution_ids: set[str]) -> None:
        """Tell that what was written last is durable."""
        last, self._last = self._last, None
        self._nudger.send(Topic.CHANGES, execution_ids if last is None else (last.execution_id, last.name))
