"""``expose``: which methods of a service others may call, and what their signatures say about the wire."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NotRequired, TypeVar, get_type_hints, overload

from pydantic import TypeAdapter
from typing_extensions import TypedDict

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__exposed__"


@overload
def expose(method: F) -> F: ...
@overload
def expose(*, safe: bool) -> Callable[[F], F]: ...
def expose(method: F | None = None, *, safe: bool = False) -> F | Callable[[F], F]:
    """Let clients call a method, sync or async, over HTTP.

    Its annotations are the wire format: arguments and results are checked against them, and may be anything that
    pydantic knows.  A method that overrides an exposed one is exposed without saying so again.

    Args:
        method: The method, when used as ``@expose``.
        safe: Calling twice does no more than calling once, so that a client may repeat a call whose answer was lost.
    """

    def mark(function: F) -> F:
        setattr(function, _MARK, safe)
        return function

    return mark if method is None else mark(method)


@dataclass(frozen=True)
class ExposedMethod:
    """One method that clients may call."""

    name: str
    function: Callable[..., Any]
    is_safe: bool

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    @cached_property
    def signature(self) -> inspect.Signature:
        """Without ``self``."""
        signature = inspect.signature(self.function)
        parameters = list(signature.parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"{self.function.__qualname__}: an exposed method cannot take {parameter}.")
        return signature.replace(parameters=parameters)

    @cached_property
    def arguments_type(self) -> type[Any]:
        """The JSON object of arguments, for pydantic: names and types as in the signature, nothing else."""
        hints = self._hints
        fields = {
            name: hints.get(name, Any) if parameter.default is parameter.empty else NotRequired[hints.get(name, Any)]
            for name, parameter in self.signature.parameters.items()
        }
        arguments: Any = TypedDict(f"{self.name}_arguments", fields)  # pyright: ignore
        arguments.__pydantic_config__ = {"extra": "forbid", "arbitrary_types_allowed": True}
        return arguments

    @property
    def may_be_empty(self) -> bool:
        return all(parameter.default is not parameter.empty for parameter in self.signature.parameters.values())

    @cached_property
    def result(self) -> TypeAdapter[Any]:
        return TypeAdapter(self._hints.get("return", Any))

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Map a call to keyword arguments; raises TypeError where Python would."""
        try:
            return self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}") from None

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            return get_type_hints(self.function, include_extras=True)
        except NameError as error:
            raise TypeError(
                f"{self.function.__qualname__}: annotations must be importable at run time: {error}"
            ) from None


def exposed_methods(service: type) -> dict[str, ExposedMethod]:
    """All methods of a service that clients may call, inherited ones too."""
    marked: dict[str, bool] = {}
    for base in reversed(service.__mro__):
        marked.update({name: getattr(value, _MARK) for name, value in vars(base).items() if hasattr(value, _MARK)})
    return {name: ExposedMethod(name, getattr(service, name), is_safe) for name, is_safe in marked.items()}
