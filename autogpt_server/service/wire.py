"""What travels between services: values, and errors as ``{"type": ..., "args": [...]}``."""

from __future__ import annotations

import re
from typing import Any, cast

from pydantic import SecretStr, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json
from typing_extensions import TypedDict

from autogpt_server import errors
from autogpt_server.errors import InvalidError, Problem, ServerError, Unavailable

#: Header that carries the secret which all services share.
SECRET_HEADER = "x-autogpt-secret"


class _SentError(TypedDict):
    type: str
    args: list[Any]


_ERROR = TypeAdapter(_SentError)

#: Password in the address of a database or of a proxy.
_PASSWORD = re.compile(r'(?<=://)([^/\s"@:]*):[^\s"]+@')

#: Errors of Python itself that are raised again on the client's side.
_BUILTINS: tuple[type[Exception], ...] = (
    *(ValueError, TypeError, LookupError, KeyError, IndexError, AttributeError, AssertionError, NotImplementedError),
    *(ArithmeticError, ZeroDivisionError, OverflowError, RuntimeError, RecursionError, MemoryError),
    *(OSError, PermissionError, FileNotFoundError, FileExistsError, TimeoutError, EOFError),
    *(ConnectionError, ConnectionRefusedError, ConnectionResetError, BrokenPipeError),
)
_OWN = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ServerError)]
_KNOWN: dict[str, type[Exception]] = {error.__name__: error for error in (*_BUILTINS, *_OWN)}


class RemoteCallError(ServerError):
    """A service answered with an error that has no class here, or with something that is no answer."""

    def __init__(self, service: str, method: str, status: int, message: str) -> None:
        super().__init__(service, method, status, message)
        self.service, self.method, self.status, self.message = service, method, status, message

    def __str__(self) -> str:
        return f"{self.service}.{self.method} answered {self.status}: {self.message}"


class ServiceUnavailable(Unavailable, ConnectionError):
    """A service could not be reached.  Nothing was sent, so the call did not happen.

    Also a ConnectionError, for callers that do not know this server's errors.
    """

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(service, reason)
        self.service, self.reason = service, reason

    def __str__(self) -> str:
        return f"{self.service} cannot be reached: {self.reason}"


class AnswerLost(Unavailable, ConnectionError):
    """The connection broke after the call was sent.  It may have happened."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(service, reason)
        self.service, self.reason = service, reason

    def __str__(self) -> str:
        return f"{self.service} gave no answer: {self.reason}"


class CallTimeout(Unavailable, TimeoutError):
    """No answer came in time.  The call may have happened, or still be running."""

    def __init__(self, service: str, method: str, seconds: float) -> None:
        super().__init__(service, method, seconds)
        self.service, self.method, self.seconds = service, method, seconds

    def __str__(self) -> str:
        return f"{self.service}.{self.method} gave no answer within {self.seconds:g} seconds."


def dump(value: Any) -> bytes:
    """JSON of a result or of arguments: pydantic models, dataclasses, times and the like by their run-time type.

    Raises:
        TypeError: JSON cannot carry it.
    """
    try:
        return to_json(value)
    except PydanticSerializationError as error:
        raise TypeError(f"JSON cannot carry {type(value).__name__}: {error}") from error


def check_texts(arguments: dict[str, Any]) -> None:
    """Refuse text in arguments that no database stores.

    Raises:
        InvalidError: Names the places of NUL characters and of lone surrogates, which are no Unicode text.
    """
    problems: list[Problem] = []
    waiting: list[tuple[str, Any]] = list(arguments.items())
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            items = cast("dict[Any, Any]", value).items()
            waiting += [pair for key, item in items for pair in ((f"{path}.{key}", item), (path, str(key)))]
        elif isinstance(value, list):
            waiting += [(f"{path}[{i}]", item) for i, item in enumerate(cast("list[Any]", value))]
        elif isinstance(value, str) and ("\0" in value or any("\ud800" <= c <= "\udfff" for c in value)):
            place = path.encode("utf-8", "replace").decode().replace("\0", "?")
            problems.append(Problem(place, "holds a NUL character or a lone surrogate", "remove it"))
    if problems:
        raise InvalidError("The arguments were refused.", problems[:100])


def dump_error(error: Exception, secret: SecretStr | None = None) -> tuple[int, bytes]:
    """HTTP status and body for an error; passwords in addresses and the shared secret are left out."""
    arguments = list(error.args) or [str(error)]
    try:
        body = to_json({"type": type(error).__name__, "args": arguments}, fallback=str)
    except PydanticSerializationError:
        text = str(error).encode("utf-8", "backslashreplace").decode()
        body = to_json({"type": type(error).__name__, "args": [text]})
    return 400 if isinstance(error, ValueError) else 500, _without_secrets(body, secret)


def load(result: TypeAdapter[Any], body: bytes, service: str, method: str) -> Any:
    """Read a result as the annotation of its method says.

    Raises:
        RemoteCallError: It is something else.
    """
    try:
        return result.validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]["msg"]
        raise RemoteCallError(service, method, 200, f"not the result that was announced: {problem}") from error


def load_error(status: int, body: bytes, service: str, method: str) -> Exception:
    """Build again the error that a service raised; RemoteCallError where its class is not known here."""
    try:
        sent = _ERROR.validate_json(body)
        return _KNOWN[sent["type"]](*sent["args"])
    except (ValidationError, KeyError, TypeError):
        return RemoteCallError(service, method, status, body[:1000].decode("utf-8", "replace"))


def _without_secrets(body: bytes, secret: SecretStr | None) -> bytes:
    text = _PASSWORD.sub(r"\1:***@", body.decode())
    if secret is not None and secret.get_secret_value():
        text = text.replace(secret.get_secret_value(), "***")
    return text.encode()
