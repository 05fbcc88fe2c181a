"""The messages of ``WS /ws``.  Both directions use one shape; what does not apply is left out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from autogpt_server.model.ids import canonical_id, is_uuid
from autogpt_server.model.jsonvalue import dumps
from autogpt_server.model.misfits import FIX, misfits
from autogpt_server.server.deps import MAX_INT
from autogpt_server.server.feed import Entry

#: What clients send, and the method of the answer to each.
SUBSCRIBE, UNSUBSCRIBE = "subscribe", "unsubscribe"
#: What the server sends by itself, and its answer to what it cannot read.
EXECUTION_EVENT, ERROR = "execution_event", "error"


class BadMessage(Exception):
    """A message that cannot be obeyed; the connection goes on."""

    def __init__(self, method: str, error: str) -> None:
        super().__init__(error)
        self.method = method


class Message(BaseModel):
    """What a client sends.  ``data`` says what to follow, or to stop following."""

    model_config = ConfigDict(extra="ignore", strict=True)

    method: str
    data: dict[str, Any] | None = None


def _check_uuid(text: str) -> str:
    if not is_uuid(text):
        raise PydanticCustomError("uuid", "it is no UUID", {FIX: "write it with its dashes"})
    return canonical_id(text)


_Id = Annotated[str, AfterValidator(_check_uuid)]


class Channel(BaseModel):
    """What to follow: one execution, after a position that was seen, or all executions of a graph."""

    model_config = ConfigDict(extra="forbid", strict=True)

    graph_id: _Id | None = None
    execution_id: _Id | None = None
    after: Annotated[int, Field(ge=0, le=MAX_INT)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Channel:
        if (self.graph_id is None) == (self.execution_id is None):
            fix = "name one graph or one execution"
            raise PydanticCustomError("channel", "give either graph_id or execution_id", {FIX: fix})
        if self.after is not None and self.execution_id is None:
            reason = "after goes with execution_id only: every execution of a graph has its own sequence"
            raise PydanticCustomError("after", reason, {FIX: "leave it out"})
        return self

    @property
    def id(self) -> str:
        """The id under which its events come."""
        return self.graph_id or self.execution_id or ""


def parse_message(text: str) -> tuple[str, Channel]:
    """Read a message of a client: its method and what it is about.

    Raises:
        BadMessage: It is none, or asks for what there is not.
    """
    try:
        message = Message.model_validate_json(text)
    except ValidationError as error:
        raise BadMessage(
            ERROR, f'Send JSON like {{"method": "subscribe", "data": {{…}}}}: {_first(error, Message)}'
        ) from None
    if message.method not in (SUBSCRIBE, UNSUBSCRIBE):
        raise BadMessage(ERROR, "Message type is not processed by the server")
    if message.data is None:
        name = "Subscription" if message.method == SUBSCRIBE else "Unsubscription"
        raise BadMessage(message.method, f"{name} data missing")
    try:
        return message.method, Channel.model_validate(message.data)
    except ValidationError as error:
        raise BadMessage(message.method, _first(error, Channel)) from None


def answer(method: str, channel: str) -> str:
    """Say that something was done."""
    return dumps({"method": method, "success": True, "channel": channel})


def refusal(method: str, error: str, channel: str | None = None) -> str:
    """Say why something was not done, or goes on no longer."""
    message = {"method": method, "success": False, "error": error}
    return dumps(message if channel is None else message | {"channel": channel})


def execution_event(channel: str, entry: Entry) -> str:
    """Wrap an event.  The last one of a revision tells with what position to come back."""
    after = f'"after":{entry.revision},' if entry.is_last else ""
    return f'{{"method":"{EXECUTION_EVENT}","channel":"{channel}",{after}"data":{entry.data}}}'


def _first(error: ValidationError, model: type[BaseModel]) -> str:
    return str(misfits(error.errors(include_url=False), model=model)[0])
