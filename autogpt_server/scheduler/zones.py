"""Time zones by their IANA name, from the package tzdata: the same on every machine, whatever its system knows."""

from __future__ import annotations

import difflib
import functools
import re
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.suggestions import short

#: In the list of tzdata, but made for machines whose zone nobody has set.
_NOT_ZONES = frozenset({"Factory"})
#: Longer names are no misspelt ones.
_LONGEST_NAME = 80
_OFFSET = re.compile(r"(?:UTC|GMT)?\s*[+-]\d{1,2}(?::?\d{2})?", re.IGNORECASE)


class TzdataZone(ZoneInfo):
    """A zone from tzdata.  Zones that were read from a file do not pickle; these do, as their name."""

    def __reduce__(self) -> tuple[Any, ...]:
        return parse_zone, (self.key,)


def parse_zone(name: str, path: str = "timezone") -> ZoneInfo:
    """Return the zone of an IANA name; always the same object for a name.

    Args:
        name: Like ``Europe/Berlin`` or ``UTC``; upper and lower case matter.
        path: Where the name stands in the input, for the message.

    Raises:
        InvalidError: There is no such zone.
    """
    # Only listed names are opened, so a name never leads to another file.
    if name not in zone_names():
        raise InvalidError(
            "The time zone is not valid.", [Problem(path, f"there is no time zone {short(name)!r}", _meant(name))]
        )
    return _load(name)


@functools.cache
def zone_names() -> frozenset[str]:
    """Return the names of all zones."""
    listed = resources.files("tzdata").joinpath("zones").read_text("ascii").split()
    return frozenset(listed) - _NOT_ZONES


@functools.cache
def _load(name: str) -> ZoneInfo:
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return TzdataZone.from_file(file, key=name)


def _meant(name: str) -> str:
    # Before anything close: what looks like GMT-5 is Etc/GMT-5, and that lies east of Greenwich.
    if _OFFSET.fullmatch(name):
        return "an offset does not know when clocks change; name a place, like Europe/Berlin, or UTC"
    if len(name) <= _LONGEST_NAME and (close := _find_close(name)):
        return f"did you mean {close!r}?"
    return "names are those of the IANA time zone database: a place, like Europe/Berlin or America/New_York, or UTC"


def _find_close(name: str) -> str | None:
    """Find the name that was probably meant: misspelt, in another case, or the city alone."""
    wanted = name.strip().replace(" ", "_").casefold()
    by_name = {known.casefold(): known for known in sorted(zone_names())}
    by_city = {known.rpartition("/")[2].casefold(): known for known in sorted(zone_names()) if "/" in known}
    if exact := by_name.get(wanted) or by_city.get(wanted):
        return exact
    # Short names are abbreviations such as PST: what looks like them is another zone.
    known = by_name if "/" in wanted else by_city
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.75) if len(wanted) > 4 else []
    return known[close[0]] if close else None
