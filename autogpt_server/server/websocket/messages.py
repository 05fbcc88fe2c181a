"""The messages of ``WS /ws``.  Both directions use one shape; what does not apply is left out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from autogpt_server.model.ids import is_uuid
from autogpt_server.model.jsonvalue import dumps
from autogpt_server.server.deps import MAX_INT
from autogpt_server.server.feed import Entry
from autogpt_server.server.problems import problems_of

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
        raise ValueError("it is no UUID")
    return text


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
            raise ValueError("give either graph_id or execution_id")
        if self.after is not None and self.execution_id is None:
            raise ValueError("after goes with execution_id only: every execution of a graph has its own sequence")
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
        raise BadMessage(ERROR, f'Send JSON like {{"method": "subscribe", "data": {{…}}}}: {_first(error)}') from None
    if message.method not in (SUBSCRIBE, UNSUBSCRIBE):
        raise BadMessage(ERROR, "Message type is not processed by the server")
    if message.data is None:
        name = "Subscription" if message.method == SUBSCRIBE else "Unsubscription"
        raise BadMessage(message.method, f"{name} data missing")
    try:
        return message.method, Channel.model_validate(message.data)
    except ValidationError as error:
        raise BadMessage(message.method, _first(error)) from None


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


def _first(error: ValidationError) -> str:
    problem = problems_of(error.errors())[0]
    return f"{problem.path}: {problem.message}"
