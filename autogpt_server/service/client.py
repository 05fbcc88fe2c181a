"""``get_service_client``: call a service's exposed methods as if it were here, from threads and from event loops."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast

import httpx
from tenacity import AsyncRetrying, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from autogpt_server.service.connections import Connections
from autogpt_server.service.exposed import ExposedMethod, exposed_methods
from autogpt_server.service.listen import local_address
from autogpt_server.service.service import AppService
from autogpt_server.service.wire import (
    SECRET_HEADER,
    AnswerLost,
    CallTimeout,
    RemoteCallError,
    ServiceUnavailable,
    dump,
    load,
    load_error,
)
from autogpt_server.settings import Settings

__all__ = ["close_client", "endpoint_to_async", "endpoint_to_sync", "get_service_client"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=AppService)

#: Seconds of the first pause between attempts, and of the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0

#: Trouble before the call left this process.
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def get_service_client(
    service: type[S], settings: Settings | None = None, *, port: int | None = None, call_timeout: float | None = None
) -> S:
    """Make a client for a service, with the exposed methods of its class and their types.

    Sync methods block, async ones return a coroutine, as they do in the service; ``endpoint_to_async(client.add)`` and
    ``endpoint_to_sync(client.fetch)`` give the other form.  One client serves all threads and event loops, keeps its
    connections open, and may be kept for good.

    A call raises what the method raised, when that is an error of this server or of Python itself.  Calls that did
    not leave this process are tried ``settings.pyro_client_comm_retry`` times, with growing pauses; others are
    repeated only when the method is exposed as safe.

    Args:
        service: The class of the service.
        settings: Host, port, timeouts and secret; by default those of the environment.
        port: Where the service listens, when not on ``service.get_port(settings)``.
        call_timeout: Seconds that one attempt may take; by default ``settings.rpc_client_call_timeout``.

    Raises (each call):
        ServiceUnavailable: The service could not be reached; nothing has happened.  Also a ConnectionError.
        AnswerLost: The connection broke; the call may have happened.  Also a ConnectionError.
        CallTimeout: No answer in time; the call may have happened.  Also a TimeoutError.
        RemoteCallError: Any other answer that is no result, with its HTTP status.
        TypeError: The arguments do not fit the method.
    """
    settings = settings or Settings()
    port = port or service.get_port(settings)
    if not port:
        raise ValueError(f"{service.__name__} listens on any free port; pass the port that it told when it was ready.")
    host = _reachable(settings.service_host(service.__name__))
    timeout = httpx.Timeout(call_timeout or settings.rpc_client_call_timeout, connect=settings.pyro_client_comm_timeout)
    headers = {"content-type": "application/json"}
    if settings.rpc_secret is not None:
        headers[SECRET_HEADER] = settings.rpc_secret.get_secret_value()
    connections = Connections(f"http://{host}:{port}", headers, timeout)
    return cast(S, _ServiceClient(service, connections, settings.pyro_client_comm_retry))


def endpoint_to_async(method: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """The form of a client's sync method that can be awaited."""
    return _endpoint(method).call_async


def endpoint_to_sync(method: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """The form of a client's async method that blocks."""
    return _endpoint(method).call_sync


async def close_client(client: AppService) -> None:
    """Close the connections of threads and of this event loop; the client may be used again afterwards."""
    await _ServiceClient.of(client).connections.aclose()


class _ServiceClient:
    def __init__(self, service: type[AppService], connections: Connections, attempts: int) -> None:
        self.connections = connections
        for name, method in exposed_methods(service).items():
            setattr(self, name, _Endpoint(service.__name__, method, connections, attempts))
        self._name = service.__name__

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self._name}.{name} is not exposed; clients call exposed methods only.")

    @staticmethod
    def of(client: object) -> _ServiceClient:
        if not isinstance(client, _ServiceClient):
            raise TypeError(f"{client!r} does not come from get_service_client.")
        return client


class _Endpoint:
    """One method of one service: how to call it, in both forms."""

    def __init__(self, service: str, method: ExposedMethod, connections: Connections, attempts: int) -> None:
        self._service, self._method, self._connections = service, method, connections
        self._retry: dict[str, Any] = {
            "stop": stop_after_attempt(attempts),
            "wait": wait_exponential_jitter(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE, jitter=_FIRST_PAUSE),
            "retry": retry_if_exception(functools.partial(_may_repeat, is_safe=method.is_safe)),
            "reraise": True,
        }

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.call_async(*args, **kwargs) if self._method.is_async else self.call_sync(*args, **kwargs)

    def call_sync(self, *args: Any, **kwargs: Any) -> Any:
        body = dump(self._method.arguments(args, kwargs))
        return Retrying(**self._retry)(self._send, body)

    async def call_async(self, *args: Any, **kwargs: Any) -> Any:
        body = dump(self._method.arguments(args, kwargs))
        return await AsyncRetrying(**self._retry)(self._send_async, body)

    def _send(self, body: bytes) -> Any:
        try:
            response = self._connections.sync().post(f"/{self._method.name}", content=body)
        except httpx.TransportError as error:
            raise self._trouble(error) from error
        return self._answer(response)

    async def _send_async(self, body: bytes) -> Any:
        try:
            response = await self._connections.for_this_loop().post(f"/{self._method.name}", content=body)
        except httpx.TransportError as error:
            raise self._trouble(error) from error
        return self._answer(response)

    def _trouble(self, error: httpx.TransportError) -> Exception:
        reason = str(error) or type(error).__name__
        if isinstance(error, _NOTHING_SENT):
            self._connections.failed()
            return ServiceUnavailable(self._service, reason)
        if isinstance(error, httpx.TimeoutException):
            return CallTimeout(self._service, self._method.name, error.request.extensions["timeout"]["read"])
        return AnswerLost(self._service, reason)

    def _answer(self, response: httpx.Response) -> Any:
        self._connections.succeeded()
        name = self._method.name
        if response.is_success:
            return load(self._method.result, response.content, self._service, name)
        raise load_error(response.status_code, response.content, self._service, name)


def _may_repeat(error: BaseException, is_safe: bool) -> bool:
    if isinstance(error, ServiceUnavailable):
        return True
    # What is wrong with the call itself stays wrong; what used up its time has had its time.
    is_final = isinstance(error, (ValueError, KeyError, TypeError, AttributeError, CallTimeout)) or (
        isinstance(error, RemoteCallError) and error.status < 500
    )
    return is_safe and isinstance(error, Exception) and not is_final


def _endpoint(method: object) -> _Endpoint:
    if not isinstance(method, _Endpoint):
        raise TypeError(f"{method!r} is not a method of a client from get_service_client.")
    return method


def _reachable(host: str) -> str:
    host = local_address(host)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host
