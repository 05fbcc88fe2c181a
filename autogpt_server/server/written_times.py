"""Times and days as REST takes them: texts in ISO 8601, and a time with its offset."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

from autogpt_server.model.misfits import FIX
from autogpt_server.model.suggestions import short

_MOMENT = "write it in ISO 8601 with an offset, like 2026-12-24T18:30:00Z or 2026-12-24T18:30:00+01:00"
_DAY = "write it as 2026-12-24"


def read_day(value: Any) -> date:
    """Read a day; for a validator of pydantic."""
    try:
        return date.fromisoformat(_text(value, "day", _DAY))
    except ValueError:
        raise _refused("day", value, _DAY) from None


def _read_moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(value, "time", _MOMENT).upper())
    except ValueError:
        raise _refused("time", value, _MOMENT) from None
    if moment.tzinfo is None:
        raise PydanticCustomError("time", "has no offset, and means another time in every zone", {FIX: _MOMENT})
    return moment


def _text(value: Any, noun: str, fix: str) -> str:
    # Numbers would be read as seconds or milliseconds since 1970, whichever looks likelier.
    if isinstance(value, str):
        return value
    raise _refused(noun, value, fix)


def _refused(noun: str, value: Any, fix: str) -> PydanticCustomError:
    shown = repr(short(value)) if isinstance(value, str) else "it"
    return PydanticCustomError("time", "{shown} is no {noun}", {"shown": shown, "noun": noun, FIX: fix})


Moment = Annotated[AwareDatetime, BeforeValidator(_read_moment)]
Day = Annotated[date, BeforeValidator(read_day)]
