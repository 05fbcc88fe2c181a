"""Following the events of an execution: whoever executes waits for this answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.types import Receive
from starlette.types import Scope as AsgiScope

from autogpt_server.model.ids import canonical_id, is_uuid
from autogpt_server.model.principal import Scope
from autogpt_server.server.deps import services_of, user_of
from autogpt_server.server.event_stream import follow
from autogpt_server.server.events import BEGINNING

_PREFIX, _SUFFIX = "/api/executions/", "/events"
#: A position, as the address and ``Last-Event-ID`` say it; larger ones are for others to refuse.
_POSITION = re.compile(rb"[0-9]{1,9}")
_AFTER = re.compile(rb"(?:after=([0-9]{1,9}))?")


@dataclass(frozen=True, slots=True)
class Following:
    """A request to follow an execution from a position on."""

    route: ClassVar = "/api/executions/{execution_id}/events"
    needs: ClassVar = Scope.READ

    execution_id: str
    seen: int
    headers: dict[bytes, bytes]

    @classmethod
    def parse(cls, scope: AsgiScope) -> Following | None:
        path: str = scope["path"]
        if not path.endswith(_SUFFIX) or not path.startswith(_PREFIX) or scope["method"] != "GET":
            return None
        execution_id = path[len(_PREFIX) : -len(_SUFFIX)]
        headers = dict(scope["headers"])
        query, position = _AFTER.fullmatch(scope["query_string"]), headers.get(b"last-event-id")
        if query is None or not is_uuid(execution_id) or not (position is None or _POSITION.fullmatch(position)):
            return None
        return cls(canonical_id(execution_id), int(position or query[1] or BEGINNING), headers)

    async def answer(self, app: Starlette, scope: AsgiScope, receive: Receive) -> Response:
        del receive
        return await follow(services_of(app).events, user_of(scope), self.execution_id, self.seen)
