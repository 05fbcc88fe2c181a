"""Talks to a server over its REST interface.  Problem answers are raised as the errors they came from."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from autogpt_server.errors import (
    ConflictError,
    InvalidError,
    NotAuthenticated,
    NotAuthorizedError,
    NotFoundError,
    Problem,
    ServerError,
    Unavailable,
)
from autogpt_server.settings import Settings

#: Seconds for a connection, and between two pieces of an answer.
_TIMEOUT = httpx.Timeout(30, connect=5)
#: Seconds that events may stay away (the server sends a sign of life more often) before we connect again.
_EVENT_TIMEOUT = httpx.Timeout(60, connect=5)
#: Seconds to keep trying when the server goes away while its events are followed.
_FOLLOW_PATIENCE = 60.0


def server_url(settings: Settings, url: str | None = None) -> str:
    """Return the address to talk to: the one given, else where the settings say that the server listens.

    Raises:
        InvalidError: What was given is no http address.
    """
    if url is None:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
        return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    if not _is_http(url):
        raise InvalidError("Bad address.", [Problem("--url", f"{url!r} is no http address", "http://127.0.0.1:8000")])
    return url.rstrip("/").removesuffix("/api")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not match, or a port that is none
        return False


def connect(url: str | None) -> ServerClient:
    """Make a client of the server at the address, or of the one that the settings name; sends nothing yet."""
    settings = Settings()
    return ServerClient(server_url(settings, url), settings.api_key)


def is_local(url: str) -> bool:
    """Tell whether an address is on this machine's loopback."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class ServerClient:
    """One server.  Close it, or use it as a context manager.

    Every method raises ``Unavailable`` when the server does not answer, and the error that its answer names.
    """

    def __init__(self, url: str, key: SecretStr | None = None) -> None:
        self.url = url
        headers = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
        # A proxy of the environment never leads to our own machine.
        self._http = httpx.Client(base_url=f"{url}/api", timeout=_TIMEOUT, headers=headers, trust_env=not is_local(url))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def health(self) -> dict[str, Any] | None:
        """Ask how the server is; None when nothing listens at the address.

        Raises:
            Unavailable: Something listens there that is not this server.
        """
        try:
            answer = self._http.get("/health", timeout=5)
            body = answer.json()
        except httpx.ConnectError:
            return None
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(
                f"What answers at {self.url} is not this server ({error or 'no answer in time'})."
            ) from None
        if answer.status_code not in (200, 503) or not isinstance(body, dict):
            raise Unavailable(f"What answers at {self.url} is not this server; --url and AUTOGPT_PORT choose another.")
        return {"http_status": answer.status_code, **body}

    def get(self, path: str, **query: Any) -> Any:
        """Read; query parameters that are None are left out."""
        return self._call("GET", path, query, None)

    def post(self, path: str, body: Any, *, key: str | None = None, **query: Any) -> Any:
        """Write.

        Args:
            path: Below ``/api``.
            body: Sent as JSON.
            key: Idempotency key: with it the request may be repeated.
            query: Parameters; those that are None are left out.
        """
        return self._call("POST", path, query, body, {} if key is None else {"Idempotency-Key": key})

    def put(self, path: str, body: Any) -> Any:
        """Replace."""
        return self._call("PUT", path, {}, body)

    def patch(self, path: str, body: Any) -> Any:
        """Change."""
        return self._call("PATCH", path, {}, body)

    def delete(self, path: str, **query: Any) -> None:
        self._call("DELETE", path, query, None)

    def upload(self, path: str, file: Path, **query: Any) -> Any:
        """Send a file piece by piece."""
        with file.open("rb") as opened:
            return self._send("POST", path, query, opened, {})

    def download(self, path: str, to: Path) -> None:
        """Fetch a file piece by piece; it is there as a whole, or not at all."""
        draft = to.with_name(f".{to.name}.part")
        try:
            with self._http.stream("GET", path) as answer, draft.open("wb") as opened:
                if answer.is_error:
                    answer.read()
                    raise _error(answer)
                for chunk in answer.iter_bytes():
                    opened.write(chunk)
            draft.replace(to)
        except httpx.HTTPError as error:
            raise Unavailable(f"The server at {self.url} did not send all of it: {error}") from None
        finally:
            draft.unlink(missing_ok=True)

    def pages(self, path: str, limit: int, **query: Any) -> Iterator[dict[str, Any]]:
        """Read up to ``limit`` items of a list that pages."""
        cursor: str | None = None
        while limit > 0:
            page = self.get(path, limit=min(limit, 100), cursor=cursor, **query)
            yield from page["items"]
            limit -= len(page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def events(self, path: str) -> Iterator[dict[str, Any]]:
        """Follow events, connecting again where the last one was seen; ends when the caller stops asking."""
        last_id: str | None = None
        # A stream may be quiet for long: only what fails counts.
        failing_since: float | None = None
        while True:
            try:
                for event_id, event in self._event_stream(path, last_id):
                    last_id, failing_since = event_id or last_id, None
                    yield event
            except (Unavailable, httpx.TransportError) as error:
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > _FOLLOW_PATIENCE:
                    raise Unavailable(f"The server at {self.url} has gone away ({error}).") from None
            time.sleep(0.2)

    def _event_stream(self, path: str, last_id: str | None) -> Iterator[tuple[str | None, dict[str, Any]]]:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        with self._http.stream("GET", path, headers=headers, timeout=_EVENT_TIMEOUT) as answer:
            if answer.status_code >= 400:
                answer.read()
                raise _error(answer)
            yield from _parse_events(answer.iter_lines())

    def _call(
        self, method: str, path: str, query: dict[str, Any], body: Any, headers: dict[str, str] | None = None
    ) -> Any:
        content = None if body is None else json.dumps(body).encode("utf-8", "surrogatepass")
        json_header = {"Content-Type": "application/json"} if content is not None else {}
        return self._send(method, path, query, content, (headers or {}) | json_header)

    def _send(
        self, method: str, path: str, query: dict[str, Any], content: bytes | BinaryIO | None, headers: dict[str, str]
    ) -> Any:
        params = {name: value for name, value in query.items() if value is not None}
        try:
            answer = self._http.request(method, path, params=params, content=content, headers=headers)
        except httpx.ConnectError:
            raise Unavailable(f"No server answers at {self.url}; start one with: autogpt serve") from None
        except httpx.HTTPError as error:
            raise Unavailable(f"The server at {self.url} did not answer: {error or type(error).__name__}") from None
        if answer.status_code >= 400:
            raise _error(answer)
        return answer.json() if answer.content else None


def _parse_events(lines: Iterator[str]) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Read the event-stream format: fields line by line, an empty line ends an event."""
    event_id: str | None = None
    data: list[str] = []
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                event_id = value
            elif name == "data":
                data.append(value)
        elif data:
            yield event_id, json.loads("\n".join(data))
            data = []


def _error(answer: httpx.Response) -> ServerError:
    try:
        problem: Any = answer.json()
        detail = str(problem.get("detail") or problem.get("title") or "")
        listed: list[Any] = problem.get("errors") or []
        errors = [Problem(e["path"], e["message"], e.get("fix")) for e in listed]
    except (ValueError, KeyError, AttributeError, TypeError):
        return ServerError(f"The server answered {answer.status_code}: {answer.text[:500]}")
    match answer.status_code:
        case 401:
            return NotAuthenticated(detail)
        case 403:
            return NotAuthorizedError(detail)
        case 404:
            return NotFoundError(detail)
        case 409:
            return ConflictError(detail)
        case 503:
            return Unavailable(detail)
        case status if status < 500:
            return InvalidError(detail, errors)
        case _:
            return ServerError(f"The server failed: {detail}")
