"""Reads the pickles of job rows without trusting them: whoever writes to the table must not get to run anything.

A pickle may name only what a job consists of, and only our own code is called: nothing is imported for it.  A job names
its function as text, of which only those are known that ``known_functions`` lists.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any, ClassVar, TypedDict, cast
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger, expressions, fields
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from autogpt_server.errors import ServerError
from autogpt_server.scheduler.known_functions import KNOWN_FUNCTIONS
from autogpt_server.scheduler.rpc_models import NotificationType
from autogpt_server.scheduler.triggers import UnixCronTrigger
from autogpt_server.scheduler.zones import parse_zone

#: Bytes of the longest pickle that is read.
MAX_BYTES = 1024 * 1024
#: Values that the arguments of a job may hold: a short pickle can name one list so often that it never ends.
_MAX_VALUES = 200_000
#: Of APScheduler's job states.
_VERSION = 1


class NotRestorable(ServerError, ValueError):
    """A job row that is no job of ours, or was tampered with."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class JobState(TypedDict):
    """What APScheduler 3 pickles of a job; ``func`` is the path under which this server has the function."""

    version: int
    id: str
    func: str
    trigger: BaseTrigger
    executor: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    name: str
    misfire_grace_time: int | None
    coalesce: bool
    max_instances: int
    next_run_time: datetime | None


def load_job_state(data: bytes) -> JobState:
    """Read the pickle of a job row.

    Raises:
        NotRestorable: It is too long, names what no job consists of, or is no job; says what.
    """
    if len(data) > MAX_BYTES:
        raise NotRestorable(f"its pickle has {len(data)} bytes; the longest that is read has {MAX_BYTES}")
    try:
        return _checked(_Unpickler(io.BytesIO(data)).load())
    except NotRestorable:
        raise
    except Exception as error:
        # A pickle can fail in any way; whichever it is, the row is not a job that can be restored.
        raise NotRestorable(f"its pickle cannot be read: {type(error).__name__}: {str(error)[:200]}") from error


def _zone(name: object, *_: object) -> tzinfo:
    # Zones are read from files and packages by their name: only from those that exist.
    if name == "UTC":
        return UTC
    return ZoneInfo(parse_zone(cast(str, name)).key)


def _attribute(owner: object, name: object) -> object:
    """Stand in for ``getattr``, with which pickles name methods and members of enumerations."""
    if owner is ZoneInfo and name == "_unpickle":
        return _unpickled_zone
    if owner is NotificationType:
        return NotificationType[cast(str, name)]
    raise NotRestorable(f"its pickle asks for the attribute {str(name)[:100]!r}")


def _unpickled_zone(name: object, *_: object) -> ZoneInfo:
    return ZoneInfo(parse_zone(cast(str, name)).key)


def _latin(text: object, encoding: object) -> bytes:
    """Stand in for ``codecs.encode``, with which old protocols write bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise NotRestorable(f"its pickle asks for the encoding {str(encoding)[:100]!r}")
    return cast(str, text).encode("latin-1")


#: What a pickle may call.
_CALLED: dict[tuple[str, str], Callable[..., object]] = {
    ("datetime", "datetime"): datetime,
    ("datetime", "date"): date,
    ("datetime", "timedelta"): timedelta,
    ("datetime", "timezone"): timezone,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "getattr"): _attribute,
    ("_codecs", "encode"): _latin,
    ("autogpt_server.scheduler.zones", "parse_zone"): parse_zone,
    # APScheduler before 3.11 stored pytz's zones.
    ("pytz", "_p"): _zone,
    ("pytz", "_UTC"): lambda: UTC,
    ("autogpt_server.scheduler.rpc_models", "NotificationType"): NotificationType,
    ("backend.data.notifications", "NotificationType"): NotificationType,
    ("prisma.enums", "NotificationType"): NotificationType,
    # Of other deployments: an enumeration of texts.
    ("backend.integrations.providers", "ProviderName"): str,
}
#: What a pickle may fill with values.
_BUILT: dict[tuple[str, str], type] = {
    (f"apscheduler.triggers.{module}", cls.__name__): cls
    for module, classes in (
        ("cron", (CronTrigger,)),
        ("interval", (IntervalTrigger,)),
        ("date", (DateTrigger,)),
        ("cron.fields", (fields.BaseField, fields.DayOfMonthField, fields.DayOfWeekField, fields.MonthField)),
        ("cron.fields", (fields.WeekField,)),
        ("cron.expressions", (expressions.AllExpression, expressions.LastDayOfMonthExpression)),
        ("cron.expressions", (expressions.MonthRangeExpression, expressions.RangeExpression)),
        ("cron.expressions", (expressions.WeekdayPositionExpression, expressions.WeekdayRangeExpression)),
    )
    for cls in classes
} | {("autogpt_server.scheduler.triggers", "UnixCronTrigger"): UnixCronTrigger}
#: The one class of which a pickle only asks for an attribute.
_NAMED: dict[tuple[str, str], object] = {("zoneinfo", "ZoneInfo"): ZoneInfo}

#: Its methods can be replaced one by one; Python does not promise it, and a test notices.
_PYTHONS: Any = pickle._Unpickler  # pyright: ignore[reportPrivateUsage]

_CALLED_IDS = {id(value) for value in _CALLED.values()} | {id(_unpickled_zone)}
_BUILT_IDS = {id(value) for value in _BUILT.values()}
_WITH_ZONE = (CronTrigger, IntervalTrigger)


class _Unpickler(_PYTHONS):
    """Python's own form of the unpickler, as that in C does not let anybody say what may be called and filled.

    A class that may be made must not be filled itself, for example: that would change it for the whole process.
    """

    stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        key = ("builtins" if module == "__builtin__" else module, name)
        for known in (_CALLED, _BUILT, _NAMED):
            if key in known:
                return known[key]
        raise NotRestorable(f"its pickle names {f'{module}.{name}'[:200]!r}, of which no job consists")

    def persistent_load(self, pid: Any) -> Any:
        raise NotRestorable("its pickle refers to something outside")

    def _reduce(self) -> None:
        if id(self.stack[-2]) not in _CALLED_IDS:
            raise NotRestorable("its pickle calls what must not be called")
        _PYTHONS.load_reduce(self)

    def _new(self) -> None:
        if id(self.stack[-2]) not in _BUILT_IDS or self.stack[-1] != ():
            raise NotRestorable("its pickle makes what must not be made")
        _PYTHONS.load_newobj(self)

    def _build(self) -> None:
        state, target = self.stack[-1], self.stack[-2]
        if id(cast("type[Any]", type(target))) not in _BUILT_IDS:
            raise NotRestorable("its pickle fills what must not be filled")
        # A zone given as text would be looked for among packages.
        needs_zone = isinstance(target, _WITH_ZONE) and not isinstance(target, UnixCronTrigger)
        if needs_zone and not (isinstance(state, dict) and isinstance(_text_keys(state)["timezone"], tzinfo)):
            raise NotRestorable("its trigger has no time zone")
        _PYTHONS.load_build(self)

    def _refuse(self) -> None:
        raise NotRestorable("its pickle makes objects in a way that APScheduler does not use")

    dispatch: ClassVar[dict[int, Any]] = dict(_PYTHONS.dispatch) | {
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _new,
        pickle.BUILD[0]: _build,
        pickle.NEWOBJ_EX[0]: _refuse,
        pickle.OBJ[0]: _refuse,
        pickle.INST[0]: _refuse,
        pickle.EXT1[0]: _refuse,
        pickle.EXT2[0]: _refuse,
        pickle.EXT4[0]: _refuse,
        pickle.NEXT_BUFFER[0]: _refuse,
    }


def _text_keys(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value)


def _checked(state: Any) -> JobState:
    if not isinstance(state, dict):
        raise NotRestorable("its pickle holds no job")
    given = cast("dict[str, Any]", state)
    if given.get("version", _VERSION) > _VERSION:
        raise NotRestorable(f"its job was stored in form {given['version']}, of a newer APScheduler")
    path = _require(given, "func", str)
    known = KNOWN_FUNCTIONS.get(path)
    if known is None:
        raise NotRestorable(f"its function {path[:200]!r} is not known here; it may have been renamed")
    args, kwargs = _require(given, "args", (tuple, list)), _require(given, "kwargs", dict)
    _check_size([args, kwargs])
    return JobState(
        version=_VERSION,
        id=_require(given, "id", str),
        func=known,
        trigger=_rebuilt(given.get("trigger")),
        # Others may have more executors; here is one.
        executor="default",
        args=tuple(args),
        kwargs=kwargs,
        name=_require(given, "name", str),
        misfire_grace_time=_require(given, "misfire_grace_time", (int, type(None))),
        coalesce=bool(given.get("coalesce")),
        max_instances=max(1, _require(given, "max_instances", int)),
        next_run_time=_moment(given.get("next_run_time")),
    )


def _require(state: dict[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(state.get(name), kind):
        raise NotRestorable(f"its job has no {name} that can be used")
    return state[name]


def _moment(value: Any) -> datetime | None:
    if value is None or (isinstance(value, datetime) and value.tzinfo is not None):
        return value
    raise NotRestorable("its job has a time without a time zone")


def _rebuilt(trigger: Any) -> BaseTrigger:
    """Make a trigger again by its own constructor, which checks what it is given."""
    if isinstance(trigger, UnixCronTrigger):
        return UnixCronTrigger(
            trigger.expression.text,
            trigger.timezone.key,
            _moment(trigger.start_date),
            _moment(trigger.end_date),
            _jitter(trigger.jitter),
        )
    if isinstance(trigger, DateTrigger):
        at = _moment(cast(Any, trigger).run_date)
        if at is None:
            raise NotRestorable("its trigger has no time")
        return DateTrigger(at, timezone=at.tzinfo)
    given: Any = trigger
    if not isinstance(trigger, CronTrigger | IntervalTrigger) or not isinstance(given.timezone, tzinfo):
        raise NotRestorable(f"its trigger is a {type(trigger).__name__}, which is not known here")
    common: dict[str, Any] = {
        "timezone": given.timezone,
        "start_date": _moment(given.start_date),
        "end_date": _moment(given.end_date),
        "jitter": _jitter(given.jitter),
    }
    if isinstance(trigger, CronTrigger):
        written = {str(one.name): str(one) for one in trigger.fields if not one.is_default}
        rebuilt = CronTrigger(**written, **common)
        if [*map(str, rebuilt.fields)] != [*map(str, trigger.fields)]:
            raise NotRestorable("its trigger is not as APScheduler makes it")
        return rebuilt
    if given.interval <= timedelta():
        raise NotRestorable("its interval is not longer than nothing")
    return IntervalTrigger(seconds=given.interval.total_seconds(), **common)


def _jitter(value: Any) -> int | None:
    if value is None or (isinstance(value, int | float) and value >= 0):
        return cast("int | None", value)
    raise NotRestorable("its jitter is no number of seconds")


def _check_size(value: Any) -> None:
    """Refuse arguments that hold too much, counted as often as it is named."""
    waiting, count = [value], 0
    while waiting:
        one = waiting.pop()
        count += 1
        if count > _MAX_VALUES:
            raise NotRestorable(f"its arguments hold more than {_MAX_VALUES} values")
        if isinstance(one, dict):
            waiting += [part for pair in cast("dict[Any, Any]", one).items() for part in pair]
        elif isinstance(one, list | tuple | set | frozenset):
            waiting += cast("list[Any]", one)
