"""A small model of the queue, the statuses and the leases, written from the rules: what the tables must say."""

from __future__ import annotations

from dataclasses import dataclass, field

FINAL = ("COMPLETED", "FAILED", "TERMINATED")
MAX_DEATHS = 3
#: As the lanes are called: that of ordinary executions, and that of suspects.
ORDINARY, QUARANTINE = "", "quarantine"


@dataclass
class Execution:
    id: str
    user: str
    lane: str
    #: The lane whose limit holds for it, also while it waits or runs in the quarantine.
    home: str
    limit: int
    priority: int
    status: str = "QUEUED"
    attempt: int = 0
    deaths: int = 0
    executor: str | None = None
    stop: bool = False
    pause: bool = False
    #: Ends of nodes by ordinal, and those that began and did not end.
    ended: list[int] = field(default_factory=list[int])
    running: list[int] = field(default_factory=list[int])

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def leave(self) -> None:
        """Leave its executor without having ended."""
        self.executor = None
        self.status = "TERMINATED" if self.stop else "PAUSED" if self.pause else "QUEUED"
        self.end_nodes()

    def end(self, status: str) -> None:
        self.status = status
        self.end_nodes()

    def end_nodes(self) -> None:
        if self.is_final and self.status != "COMPLETED":
            self.ended += sorted(self.running)
            self.running = []


class Model:
    """Everything that was accepted, and who runs it."""

    def __init__(self) -> None:
        self.executions: dict[str, Execution] = {}

    def of(self, executor: str) -> list[Execution]:
        return [e for e in self.executions.values() if e.status == "RUNNING" and e.executor == executor]

    def running_in(self, home: str) -> int:
        return sum(e.status == "RUNNING" and e.home == home for e in self.executions.values())

    def waiting(self, *, suspects: bool) -> list[Execution]:
        return [
            e for e in self.executions.values() if e.status == "QUEUED" and (e.lane == QUARANTINE) == suspects
        ]  # fmt: skip

    def may_start(self, one: Execution) -> bool:
        return not one.limit or self.running_in(one.home) < one.limit

    def claim(self, executor: str, id_: str) -> None:
        """Start one, which must have been the first of its line, within its limit."""
        one = self.executions[id_]
        assert one.status == "QUEUED", f"{id_} was claimed and is {one.status}"
        assert self.may_start(one), f"{id_} exceeds the limit of its lane"
        line = [e for e in self.waiting(suspects=one.lane == QUARANTINE) if (e.home, e.user) == (one.home, one.user)]
        first = min(line, key=lambda e: (-e.priority, e.id))
        assert first is one, f"{id_} was claimed before {first.id}"
        one.status, one.executor = "RUNNING", executor
        one.attempt += 1

    def rescue(self, executor: str, suspects: set[str]) -> None:
        """An executor has died while these of its executions ran code."""
        for one in self.of(executor):
            if one.id in suspects:
                one.deaths += 1
                if one.deaths >= MAX_DEATHS:
                    one.executor = None
                    one.end("FAILED")
                    continue
                one.lane = QUARANTINE
            one.leave()
