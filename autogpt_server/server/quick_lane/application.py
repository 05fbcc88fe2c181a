"""The framework's application with the quick lanes before it."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from autogpt_server.errors import ServerError
from autogpt_server.server.bodies import INLINE_BYTES
from autogpt_server.server.gate import stays_open
from autogpt_server.server.needs import check_allowed, principal_of
from autogpt_server.server.problems import answer_defect, answer_error, refuse
from autogpt_server.server.quick_lane.executing import Executing
from autogpt_server.server.quick_lane.following import Following
from autogpt_server.service.listen import names_this_machine

#: Headers that a guard or another reader of the body must look at.
_UNUSUAL = frozenset({b"origin", b"transfer-encoding", b"expect"})

#: Where a request notes its route, as the framework's routes note theirs: also one that a guard then refuses.
ROUTE_KEY = "quick_lane.route"

_LANES: tuple[type[Executing] | type[Following], ...] = (Executing, Following)


class Application(FastAPI):
    """Answers by itself what a lane takes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await super().__call__(scope, receive, send)
            return
        try:
            key = await self.state.gate.admit(scope)
        except ServerError as error:
            await refuse(error, scope, receive, send)
            return
        if key is not None and stays_open(scope):
            await self.state.gate.watch(key, scope, receive, send, self._serve)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _quick_request(scope)
        if request is not None:
            scope[ROUTE_KEY] = request.route
        if request is None or not self._is_usual(request.headers):
            await super().__call__(scope, receive, send)
            return
        try:
            check_allowed(principal_of(scope), request.needs)
            answer = await request.answer(self, scope, receive)
        except ServerError as error:
            answer = answer_error(error)
        except Exception as error:
            # The border of the request: no error of ours may end more than this one answer.
            answer = answer_defect(scope, error)
        if answer is not None:
            await answer(scope, receive, send)

    def _is_usual(self, headers: dict[bytes, bytes]) -> bool:
        length = headers.get(b"content-length", b"0")
        return (
            _UNUSUAL.isdisjoint(headers)
            and length.isdigit()
            and int(length[:10]) <= INLINE_BYTES
            and (
                self.state.is_reachable
                or names_this_machine(headers.get(b"host", b"").decode("latin-1"), self.state.own_host)
            )
        )


def _quick_request(scope: Scope) -> Executing | Following | None:
    if scope["type"] != "http":
        return None
    for lane in _LANES:
        if (request := lane.parse(scope)) is not None:
            return request
    return None
