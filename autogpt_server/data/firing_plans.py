"""What is to become of a schedule's due slots: decided by the scheduler, carried out by ``firing.py``.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autogpt_server.model import clock
from autogpt_server.model.ids import new_id
from autogpt_server.model.schedule import Schedule, Slot, SlotOutcome


@dataclass(slots=True)
class Plan:
    """What is to become of the due slots of a schedule, as it was read at some revision."""

    schedule: Schedule
    #: By time; those that fire have an execution's id.
    slots: list[Slot]
    #: The slot after these; None where none comes.
    next_run_at: datetime | None
    #: Its inputs as they are stored.
    inputs: str
    #: The version that the inputs were checked against; None where they fit no version at all.
    checked_version: int | None

    @property
    def is_of_several(self) -> bool:
        """Whether it decides about more than one slot."""
        return len(self.slots) > 1 or self.slots[0].last_scheduled_at is not None

    @property
    def last_slot_at(self) -> datetime:
        return self.slots[-1].last_scheduled_at or self.slots[-1].scheduled_at

    def refuse(self, outcome: SlotOutcome, reason: str) -> None:
        """Let none of its slots fire."""
        self.slots = [_refused(slot, outcome, reason) for slot in self.slots]

    def keep_first(self, count: int, reason: str) -> None:
        """Let only so many of its slots fire, the first ones."""
        kept: list[Slot] = []
        for slot in self.slots:
            if slot.execution_id is not None and count <= 0:
                kept.append(_refused(slot, SlotOutcome.SKIPPED, reason))
            else:
                count -= slot.execution_id is not None
                kept.append(slot)
        self.slots = kept

    def keep_last(self, reason: str) -> None:
        """Let only the last of its slots fire."""
        firing = [slot for slot in self.slots if slot.execution_id is not None]
        self.slots = [
            slot if slot.execution_id is None or slot is firing[-1] else _refused(slot, SlotOutcome.SKIPPED, reason)
            for slot in self.slots
        ]


def planned(schedule: Schedule, scheduled_at: datetime, *, is_late: bool, reason: str | None = None) -> Slot:
    """Make a slot that fires now."""
    outcome = SlotOutcome.LATE if is_late else SlotOutcome.FIRED
    return Slot.model_construct(
        schedule_id=schedule.id, scheduled_at=scheduled_at, outcome=outcome, reason=reason, execution_id=new_id(),
        last_scheduled_at=None, count=1, fired_at=clock.now(),
    )  # fmt: skip


def _refused(slot: Slot, outcome: SlotOutcome, reason: str) -> Slot:
    """Make of a slot that was to fire one that does not."""
    if slot.execution_id is None:
        return slot
    return slot.model_copy(update={"outcome": outcome, "reason": reason, "execution_id": None})
