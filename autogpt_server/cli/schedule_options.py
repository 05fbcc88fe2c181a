"""Times, durations and days as they are written on the command line."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

from autogpt_server.errors import InvalidError, Problem

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,10})([smhd])")


def parse_time(option: str, text: str | None) -> str | None:
    """Read a time in ISO 8601, in UTC where it has no offset, and write it as the server takes it.

    Raises:
        InvalidError: It is none.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fix = "for example: 2026-12-24T18:30+01:00, or 2026-12-24 17:30 in UTC"
        raise InvalidError("Bad option.", [Problem(option, f"{text!r} is no time", fix)]) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def parse_duration(option: str, text: str | None) -> int | None:
    """Read a duration, and return its seconds.

    Raises:
        InvalidError: It is none.
    """
    if text is None:
        return None
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        problem = Problem(option, f"{text!r} is no duration", "for example: 90s, 15m, 6h or 1d")
        raise InvalidError("Bad option.", [problem])
    return int(found[1]) * _SECONDS[found[2]]


def parse_exclusion(text: str) -> dict[str, Any]:
    """Read ``DATE[..DATE][=REASON]``.

    Raises:
        InvalidError: It is none.
    """
    days, _, reason = text.partition("=")
    first, dots, last = days.partition("..")
    try:
        found = {"from": date.fromisoformat(first.strip()), "to": date.fromisoformat((last if dots else first).strip())}
    except ValueError:
        fix = "for example: 2026-12-24..2026-12-26=holidays"
        raise InvalidError("Bad option.", [Problem("--exclude", f"{text!r} names no days", fix)]) from None
    days_of: dict[str, Any] = {name: day.isoformat() for name, day in found.items()}
    return days_of | ({"reason": reason} if reason else {})
