"""The clock: tell the time, wait for some."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, Field

from autogpt_server.errors import BlockError
from autogpt_server.model import clock
from autogpt_server.model.block import AsyncBlockOutput, Block, BlockCategory, BlockContext, BlockOutput, BlockSchema

#: Seconds between two looks at whether a waiting block should stop.
_POLL_SECONDS = 0.2
#: Longest wait.
_MAX_WAIT = timedelta(days=366)


class TimeFormat(BaseModel):
    """How exports from elsewhere say what they want."""

    discriminator: str = "strftime"
    format: str | None = None
    timezone: str | None = None
    use_user_timezone: bool = False
    include_microseconds: bool = False


class CurrentTimeBlock(Block):
    id = "a892b8d9-3e4e-4e9c-9c1e-75f8efcf1bfa"
    aliases = ("GetCurrentTimeBlock",)
    description = "Tells the time of a zone."
    categories = frozenset({BlockCategory.BASIC})
    blocking = False

    class Input(BlockSchema):
        trigger: Any = Field(default=None, description="Anything: its arrival asks for the time.")
        timezone: str = Field(default="UTC", description="IANA name of the zone, like Europe/Vienna.")
        format: str = Field(default="%H:%M:%S", description="How to write `time`, in the codes of strftime.")
        format_type: TimeFormat | None = Field(default=None, description="Format and zone together; wins over both.")

    class Output(BlockSchema):
        time: str = Field(description="The time, as asked for.")
        date: str = Field(description="The date, like 2030-12-31.")
        iso: str = Field(description="Date, time and offset in ISO 8601.")

    test_input = [{}, {"timezone": "Asia/Kathmandu", "format": "%H"}]
    test_output = [("time", str), ("date", str), ("iso", str)] * 2

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        wanted = input_data.format_type or TimeFormat()
        now = clock.now().astimezone(_zone(wanted.timezone or input_data.timezone))
        if wanted.discriminator == "iso8601":
            precision = "microseconds" if wanted.include_microseconds else "seconds"
            time = "T" + now.isoformat(timespec=precision).partition("T")[2]
        else:
            time = now.strftime((wanted.format or input_data.format)[:1000])
        yield "time", time
        yield "date", now.date().isoformat()
        yield "iso", now.isoformat()


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BlockError(f"there is no time zone {name!r}; use an IANA name like Europe/Vienna") from None


def _nothing_as_zero(value: Any) -> Any:
    return 0 if value == "" else value


Duration = Annotated[float, BeforeValidator(_nothing_as_zero), Field(ge=0, allow_inf_nan=False)]


class WaitBlock(Block):
    id = "d67a9c52-5e4e-11e2-bcfd-0800200c9a71"
    aliases = ("CountdownTimerBlock", "TimerBlock")
    description = "Waits, then sends a message."
    categories = frozenset({BlockCategory.BASIC})
    blocking = False
    timeout = _MAX_WAIT + timedelta(minutes=1)

    class Input(BlockSchema):
        seconds: Duration = Field(default=0, description="How long to wait.")
        minutes: Duration = Field(default=0, description="Minutes on top.")
        hours: Duration = Field(default=0, description="Hours on top.")
        days: Duration = Field(default=0, description="Days on top.")
        input_message: Any = Field(default="timer finished", description="What goes out afterwards.")
        repeat: int = Field(default=1, ge=1, le=10_000, description="How often to wait and send.")

    class Output(BlockSchema):
        output_message: Any = Field(description="The message.")

    test_input = [{"seconds": "0.01"}, {"input_message": {"a": 1}, "repeat": 2}]
    test_output = [("output_message", "timer finished"), ("output_message", {"a": 1}), ("output_message", {"a": 1})]

    async def run(self, input_data: Input, context: BlockContext) -> AsyncBlockOutput:
        hours = input_data.days * 24 + input_data.hours
        seconds = (hours * 60 + input_data.minutes) * 60 + input_data.seconds
        if seconds * input_data.repeat > _MAX_WAIT.total_seconds():
            raise BlockError(f"the longest wait is {_MAX_WAIT.days} days")
        for _ in range(input_data.repeat):
            if not await _sleep(seconds, context):
                return
            yield "output_message", input_data.input_message


async def _sleep(seconds: float, context: BlockContext) -> bool:
    """Wait, and tell whether the time was up; the other way to end is that the execution is stopped."""
    clock = asyncio.get_running_loop().time
    ends_at = clock() + seconds
    while (left := ends_at - clock()) > 0:
        if context.cancelled:
            return False
        await asyncio.sleep(min(left, _POLL_SECONDS))
    return True
