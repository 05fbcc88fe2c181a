"""Checks what somebody wants scheduled, and names everything that is wrong with it at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from autogpt_server.errors import InvalidError, Problem
from autogpt_server.executor.submit import checked_inputs
from autogpt_server.model.graph import Graph
from autogpt_server.model.suggestions import as_path, short
from autogpt_server.scheduler.cron import CronExpression, parse_cron
from autogpt_server.scheduler.zones import parse_zone

if TYPE_CHECKING:
    from autogpt_server.scheduler.scheduling import NewSchedule

#: Characters of the longest name.
_MAX_NAME = 200
#: Seconds of the longest interval and jitter.
_MAX_INTERVAL, _MAX_JITTER = 10 * 366 * 86_400, 86_400
_MAX_MISFIRES, _MAX_RUNS, _MAX_FAILURES, _MAX_EXCLUDED = 1000, 1_000_000_000, 1000, 1000
#: The greatest number of a version that a column holds.
_MAX_VERSION = 2**31 - 1
#: Runs that are looked at for the distance from one day to the next.
_WALKED = 50
#: Years in which times may lie.
_YEARS = range(1970, 9000)


def check_times(new: NewSchedule, now: datetime, was: NewSchedule | None = None) -> None:
    """Check everything but graph and inputs.

    Args:
        new: What is wanted.
        now: When this is; a single run must come later.
        was: What it is until now, where it is changed.  What is wrong with that is no reason to refuse: a single run
            may have been, and what was taken over from another deployment goes by other rules.

    Raises:
        InvalidError: Names each field that is wrong, and what would be right.
    """
    known = [] if was is None else _find_problems(was, now)
    if problems := [each for each in _find_problems(new, now) if each not in known]:
        raise InvalidError("The schedule was refused.", problems)


def _find_problems(new: NewSchedule, now: datetime) -> list[Problem]:
    problems = [*_kind(new, now), *_bounds(new), *_numbers(new), *_dates(new)]
    if new.name is not None and not (len(new.name.strip()) > 0 and len(new.name) <= _MAX_NAME):
        problems.append(Problem("name", f"has {len(new.name)} characters", f"use 1 to {_MAX_NAME}, or leave it out"))
    return problems


def _kind(new: NewSchedule, now: datetime) -> Iterator[Problem]:
    given = [name for name in ("cron", "run_at", "interval_seconds") if getattr(new, name) is not None]
    if len(given) != 1:
        found = "none of cron, run_at and interval_seconds is" if not given else f"{' and '.join(given)} are"
        yield Problem(given[-1] if given else "cron", f"{found} given", "give exactly one of the three")
    try:
        parse_zone(new.timezone)
    except InvalidError as error:
        yield from error.problems
    if new.cron is not None:
        try:
            parse_cron(new.cron)
        except InvalidError as error:
            yield from error.problems
    if new.run_at is not None:
        problems = list(check_moment("run_at", new.run_at))
        yield from problems
        if not problems and new.run_at <= now:
            yield Problem("run_at", f"{new.run_at.isoformat()} is over", "give it a time in the future")
    if new.interval_seconds is not None:
        yield from _range("interval_seconds", new.interval_seconds, 1, _MAX_INTERVAL)


def _bounds(new: NewSchedule) -> Iterator[Problem]:
    for name in ("starts_at", "ends_at"):
        moment = getattr(new, name)
        if moment is not None:
            yield from check_moment(name, moment)
    if new.starts_at is not None and new.ends_at is not None and new.ends_at < new.starts_at:
        yield Problem("ends_at", "lies before starts_at", "give it a later end, or none")


def check_moment(path: str, moment: datetime) -> Iterator[Problem]:
    """Find what keeps a time from being stored and computed with."""
    if moment.tzinfo is None:
        yield Problem(path, f"{moment.isoformat()} has no offset", "add one, like Z or +01:00")
    elif moment.year not in _YEARS:
        fix = f"use a year from {_YEARS.start} to {_YEARS.stop - 1}"
        yield Problem(path, f"{moment.isoformat()} is no time that can be stored", fix)


def _numbers(new: NewSchedule) -> Iterator[Problem]:
    yield from _range("misfire_limit", new.misfire_limit, 1, _MAX_MISFIRES)
    yield from _range("jitter_seconds", new.jitter_seconds, 0, _MAX_JITTER)
    if new.interval_seconds is not None and 0 < new.interval_seconds <= new.jitter_seconds:
        yield Problem("jitter_seconds", "is not shorter than the interval", "give it fewer seconds")
    if new.cron is not None and new.jitter_seconds > 0:
        yield from _cron_jitter(new.cron, new.jitter_seconds)
    if new.graph_version is not None:
        yield from _range("graph_version", new.graph_version, 1, _MAX_VERSION)
    if new.max_runs is not None:
        yield from _range("max_runs", new.max_runs, 1, _MAX_RUNS)
    if new.pause_after_failures is not None:
        yield from _range("pause_after_failures", new.pause_after_failures, 1, _MAX_FAILURES)


def _cron_jitter(cron: str, seconds: int) -> Iterator[Problem]:
    """Refuse a jitter that would let runs overtake each other."""
    with contextlib.suppress(InvalidError):
        gap = _shortest_gap(parse_cron(cron)) // timedelta(seconds=1)
        if gap < seconds <= _MAX_JITTER:
            yield Problem("jitter_seconds", f"is longer than the {gap} s between two runs", f"give it at most {gap}")


def _shortest_gap(expression: CronExpression) -> timedelta:
    """Return the least time between two runs, a day at most, on a clock that nobody ever changes."""
    hours, minutes = expression.hour.values, expression.minute.values
    times = [timedelta(hours=hour, minutes=minute) for hour in hours for minute in minutes]
    within = [later - earlier for earlier, later in pairwise(times)]
    walls = islice(expression.walls_after(datetime(2000, 1, 1)), _WALKED)  # noqa: DTZ001 - wall times
    across = [later - earlier for earlier, later in pairwise(walls)]
    return min(timedelta(days=1), *within, *across)


def _range(path: str, value: int, least: int, most: int) -> Iterator[Problem]:
    if not least <= value <= most:
        yield Problem(path, f"is {short(str(value))}", f"use a whole number from {least} to {most}")


def _dates(new: NewSchedule) -> Iterator[Problem]:
    if len(new.excluded_dates) > _MAX_EXCLUDED:
        yield Problem("excluded_dates", f"holds {len(new.excluded_dates)} ranges", f"use at most {_MAX_EXCLUDED}")
    for i, one in enumerate(new.excluded_dates):
        if one.last < one.first:
            yield Problem(f"excluded_dates[{i}].to", "lies before `from`", "exchange the two")
        if one.last - one.first > timedelta(days=366 * 10):
            yield Problem(f"excluded_dates[{i}]", "is longer than ten years", "give the schedule an end instead")


def check_execution(graph: Graph, inputs: dict[str, Any], credentials: dict[str, Any]) -> None:
    """Check what a schedule gives to each execution.

    Raises:
        InvalidError: It does not fit the graph; names every field.
    """
    twice = [
        Problem(f"credentials.{as_path(name)}", "is among the inputs as well", "leave it out there")
        for name in credentials
        if name in inputs
    ]
    if twice:
        raise InvalidError("The inputs do not fit the graph.", twice)
    try:
        checked_inputs(graph, {**inputs, **credentials}, "inputs")
    except InvalidError as error:
        raise InvalidError(error.message, [_moved(one, credentials) for one in error.problems]) from None


def _moved(problem: Problem, credentials: dict[str, Any]) -> Problem:
    """Give a problem the path under which its value was given."""
    for name in credentials:
        place = f"inputs.{as_path(name)}"
        if problem.path == place or problem.path.startswith((f"{place}.", f"{place}[")):
            return replace(problem, path=problem.path.replace("inputs.", "credentials.", 1))
    return problem
