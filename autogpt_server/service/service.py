"""``AppService``: a process whose exposed methods others call over HTTP."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, ClassVar, TypeVar

from fastapi import Body, FastAPI, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from autogpt_server.errors import NotAuthorizedError, ServerError
from autogpt_server.service.exposed import ExposedMethod, expose, exposed_methods
from autogpt_server.service.http_server import HttpServer
from autogpt_server.service.listen import check_secret, listen, names_this_machine
from autogpt_server.service.process import AppProcess
from autogpt_server.service.wire import SECRET_HEADER, check_texts, dump, dump_error
from autogpt_server.settings import Settings

__all__ = ["AppService", "expose"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_HEALTH = ("health_check", "health_check_async")
_JSON = "application/json"


class AppService(AppProcess, ABC):
    """A process that answers ``POST /<method>`` for its exposed methods.

    Arguments come as a JSON object, results leave as plain JSON.  HTTP runs in a thread of its own; sync methods run
    in its thread pool, async ones on its event loop.  The main thread runs ``run_service``.  It listens on
    ``settings.pyro_host``; beyond loopback ``settings.rpc_secret`` is required, else it refuses to start.

    Subclasses write ``get_port`` and exposed methods, and may write ``startup``, ``shutdown``, ``run_service``,
    ``health_check``.  ``get_service_client`` makes a typed client from the class.
    """

    ready_when_running = False
    #: Environment variable that changes the port, for messages; by default made from the name of the class.
    port_setting: ClassVar[str] = ""

    _server: HttpServer | None = None

    @classmethod
    @abstractmethod
    def get_port(cls, settings: Settings) -> int:
        """The port on which it listens and clients find it; 0 means any free one, which ``wait_ready`` tells."""

    async def startup(self) -> None:
        """Open what the methods need, on the event loop, before the port answers."""

    async def shutdown(self) -> None:
        """Close it again, on the event loop, after the last request.  ``startup`` may have ended at any line."""

    def run_service(self) -> None:
        """Do the service's own work in the main thread; the process ends when this returns.  By default: wait.

        Work that may hang makes the thread a part of ``pulse``, whose other part is the event loop.
        """
        self.stopping.wait()

    @expose(safe=True)
    def health_check(self) -> str:
        """Answer ``"OK"``, or raise when the service is of no use.  Must return at once."""
        return "OK"

    @expose(safe=True)
    async def health_check_async(self) -> str:
        """The same, on the event loop: it answers only while the loop is not blocked."""
        return self.health_check()

    @property
    def port(self) -> int:
        """The real port of a service that was started here in the background and is ready."""
        return int(self.wait_ready()["port"])

    def run_and_wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the service's event loop, and wait for its result; for every thread but the loop's own."""
        if self._server is None:
            coroutine.close()
            raise RuntimeError(f"{self.name} is not running.")
        return asyncio.run_coroutine_threadsafe(coroutine, self._server.loop).result()

    def run(self) -> None:
        check_secret(self.settings)
        host = self.settings.pyro_host
        words = re.sub(r"(?<=.)(?=[A-Z][a-z])", "_", type(self).__name__).upper()
        port_setting = self.port_setting or f"AUTOGPT_{words}_PORT"
        port = self.get_port(self.settings)
        listener = listen(host, port, port_setting=port_setting, host_setting="AUTOGPT_PYRO_HOST")
        host, port = listener.getsockname()[:2]
        with HttpServer(_application(self), listener, self.startup, self.shutdown, self.pulse) as self._server:
            self.ready(host=host, port=port)
            log.info("%s listens on %s:%d", self.name, host, port)
            self.run_service()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_server"}


def _application(service: AppService) -> ASGIApp:
    app = FastAPI(title=service.name, docs_url=None, redoc_url=None, openapi_url=None)
    for method in exposed_methods(type(service)).values():
        verbs = ["GET", "POST"] if method.name in _HEALTH else ["POST"]
        app.add_api_route(f"/{method.name}", _endpoint(service, method), methods=verbs, response_model=None)
    return _Doorkeeper(app, service.settings)


def _endpoint(service: AppService, method: ExposedMethod) -> Callable[..., Awaitable[Response]]:
    bound = getattr(service, method.name)

    async def call(arguments: dict[str, Any]) -> Response:
        try:
            check_texts(arguments)
            value = await bound(**arguments) if method.is_async else await run_in_threadpool(bound, **arguments)
            return Response(dump(value), media_type=_JSON)
        except Exception as error:
            # The border of the process: every error of a method travels to its caller.
            return _error_response(service, method, error)

    # FastAPI reads the arguments' names and types from here.
    call.__annotations__["arguments"] = Annotated[method.arguments_type, Body()]
    call.__defaults__ = ({},) if method.may_be_empty else None
    return call


def _error_response(service: AppService, method: ExposedMethod, error: Exception) -> Response:
    if isinstance(error, (ServerError, ValueError)):
        log.info("%s refused: %s", method.name, type(error).__name__)
    else:
        log.error("%s failed", method.name, exc_info=error)
    status, body = dump_error(error, service.settings.rpc_secret)
    return Response(body, status_code=status, media_type=_JSON)


class _Doorkeeper:
    """Lets in who knows the secret, before anything of a request is read.  Health is told to everybody.

    Where there is no secret, all of this machine are let in, but pages of other sites in a browser of it.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._own_host = app, settings.pyro_host.lower()
        secret = settings.rpc_secret
        self._secret = None if secret is None else secret.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].strip("/") not in _HEALTH:
            headers = Headers(scope=scope)
            refused = self._knows_no_secret(headers) if self._secret is not None else self._is_foreign(headers)
            if refused is not None:
                status, reason = refused
                body = dump_error(NotAuthorizedError(reason))[1]
                await Response(body, status_code=status, media_type=_JSON)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _knows_no_secret(self, headers: Headers) -> tuple[int, str] | None:
        given = headers.get(SECRET_HEADER, "").encode("latin-1")
        if self._secret is None or hmac.compare_digest(given, self._secret):
            return None
        return 401, f"The header {SECRET_HEADER} is missing or wrong."

    def _is_foreign(self, headers: Headers) -> tuple[int, str] | None:
        if "origin" in headers:
            return 403, "Requests of pages are not answered here."
        if not names_this_machine(headers.get("host", ""), self._own_host):
            return 403, "The Host header does not name this machine; use 127.0.0.1 or localhost."
        return None
