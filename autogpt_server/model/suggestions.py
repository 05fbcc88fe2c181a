"""Names in messages: shown at a bearable length, and with the known name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

#: Characters of a name that are shown.
_SHOWN = 80
#: Known names that are listed where none is close.
_LISTED = 40
#: Unknown names that close ones are looked for: it is slow, and only the first problems are read.
_MAX_SUGGESTIONS = 50


def short(text: str) -> str:
    """Cut a name that is too long for a message."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def as_path(name: str) -> str:
    """Give a name as the place of a problem; one without a letter is a place, too."""
    return short(name) or '""'


class Suggestions:
    """Finds what was meant by unknown names in one document."""

    def __init__(self) -> None:
        self._made = 0

    def __call__(self, name: str, known: Iterable[str]) -> str | None:
        """Return a hint at the closest known name, or at all of them; None once there were enough hints."""
        self._made += 1
        if len(name) > _SHOWN or self._made > _MAX_SUGGESTIONS:
            return None
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1)
        # Abbreviations and another case are close too.
        close = close or [n for n in names if name and (name.lower() in n.lower() or n.lower() in name.lower())]
        return f"did you mean {close[0]!r}?" if close else f"there is: {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "nothing"
    return ", ".join(short(name) for name in names[:_LISTED]) + (", …" if len(names) > _LISTED else "")
