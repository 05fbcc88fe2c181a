"""What a graph or a node asks of its executions beyond their results: limits of time and number, and retries."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: Longest time limit and back-off: ten years, so that every sum of times stays within the calendar.
_MAX_SECONDS = 10 * 365 * 86_400.0

# Strict, as all numbers here: true is no 1, and a text no number.
Seconds = Annotated[float, Field(gt=0, le=_MAX_SECONDS, allow_inf_nan=False, strict=True)]
Delay = Annotated[float, Field(ge=0, le=_MAX_SECONDS, allow_inf_nan=False, strict=True)]


class _Policy(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RetryPolicy(_Policy):
    """When a node that failed is run again."""

    #: Runs in all, the first one among them.
    attempts: int = Field(ge=1, le=1000, strict=True)
    #: Seconds before the second run.
    delay_seconds: Delay = 1.0
    #: What every further delay is multiplied by.
    factor: float = Field(default=2.0, ge=1, le=100, allow_inf_nan=False, strict=True)
    #: No delay is longer, whatever factor or the other side ask for.
    max_delay_seconds: Delay = 300.0
    #: Part of each delay that is left to chance, so that what failed together does not return together.
    jitter: float = Field(default=0.5, ge=0, le=1, strict=True)
    #: Names of the exceptions that are worth another run, base classes among them, and ``timeout``; none means all.
    errors: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(default=(), max_length=100)


class NodePolicy(_Policy):
    """What one node asks for."""

    #: Longest time of one run; by default the block's own limit, or else that of the settings.
    timeout_seconds: Seconds | None = None
    retry: RetryPolicy | None = None


class GraphPolicy(_Policy):
    """What a graph asks for, for each of its executions."""

    #: Longest time of an execution, pauses not counted; by default that of the settings.
    timeout_seconds: Seconds | None = None
    #: Executions of the graph that may run at the same time; others wait.
    max_concurrent_executions: int | None = Field(default=None, ge=1, le=1_000_000, strict=True)
