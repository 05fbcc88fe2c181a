"""What was measured, and what should have been."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Reached = Literal["aim", "must", "no", ""]


@dataclass(frozen=True)
class Target:
    """What a figure must reach, and what we aim at.  One number per number of the figure."""

    must: tuple[float, ...]
    aim: tuple[float, ...]


@dataclass(frozen=True)
class Figure:
    """One measured row: a number, or several that belong together, as a median and a 95th percentile do.

    Args:
        work: What was done.
        values: The numbers.
        unit: Of all of them.
        target: What they should be; None for what is only good to know.
        more_is_better: Rates and ratios; times and sizes are better small.
        notes: What else was seen, such as ratios to the baselines.
    """

    work: str
    values: tuple[float, ...]
    unit: str
    target: Target | None = None
    more_is_better: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def reached(self) -> Reached:
        if self.target is None:
            return ""
        if self._fits(self.target.aim):
            return "aim"
        return "must" if self._fits(self.target.must) else "no"

    def _fits(self, wanted: tuple[float, ...]) -> bool:
        pairs = zip(self.values, wanted, strict=True)
        return all(value >= want if self.more_is_better else value <= want for value, want in pairs)


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that is not below the given part of all values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)]


def median_and_late(values: Sequence[float]) -> tuple[float, float]:
    """The median and the 95th percentile."""
    return percentile(values, 0.5), percentile(values, 0.95)


def timed(work: Callable[[], object], number: int) -> list[float]:
    """Do something again and again; returns the milliseconds of each time."""
    times: list[float] = []
    for _ in range(number):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return times
