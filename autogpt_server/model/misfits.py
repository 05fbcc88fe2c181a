"""Values that pydantic refused, told as problems: the place, what is there, and what belongs there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.suggestions import Suggestions, as_path, short

#: What belongs where pydantic found something of another kind, by the beginning of its error's type.
_KINDS = {
    "int_": "a whole number",
    "float_": "a number",
    "decimal_": "a number",
    "finite_number": "a number",
    "bool_": "true or false",
    "string_type": "a text",
    "string_sub_type": "a text",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "an object",
    "model_": "an object",
    "dataclass_type": "an object",
    "none_required": "null",
}
#: What limits ask for, with the limit under the name that pydantic gives it.
_LIMITS = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "enum": "{expected}",
}
#: The same for what has a length.
_LENGTHS = {
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} items",
    "too_long": "at most {max_length} items",
}
#: Under which a type's own error carries how to mend it.
FIX = "fix"
#: Stands for a value of which nothing is said.
_HIDDEN = object()


def misfits(
    errors: Iterable[Mapping[str, Any]],
    *,
    prefix: str = "",
    model: type[BaseModel] | None = None,
    is_secret: bool = False,
) -> list[Problem]:
    """Turn pydantic's errors into problems.

    Args:
        errors: With their inputs and contexts.
        prefix: Stands before every place, which is named as its author wrote it, ``inputs[3].name``.
        model: What was to be read; knows the names that may have been meant by unknown ones.
        is_secret: Say nothing of what was given.
    """
    suggest = Suggestions()
    problems: list[Problem] = []
    for error in errors:
        path = prefix
        for step in error["loc"]:
            path += f"[{step}]" if isinstance(step, int) else f".{as_path(step)}" if path else as_path(step)
        told = {**error, "input": _HIDDEN} if is_secret and error["type"] not in _LENGTHS else error
        problems.append(Problem(path or "body", *_told(told, model, suggest)))
    return problems


def invalid_input(
    message: str, error: ValidationError, model: type[BaseModel], *, prefix: str = "", is_secret: bool = False
) -> InvalidError:
    """Refuse what a model refused, naming every place; the rest is as of ``misfits``."""
    problems = misfits(error.errors(include_url=False), prefix=prefix, model=model, is_secret=is_secret)
    return InvalidError(message, problems)


def _told(error: Mapping[str, Any], model: type[BaseModel] | None, suggest: Suggestions) -> tuple[str, str]:
    """Say what is wrong, and how to mend it."""
    kind, value, context = str(error["type"]), error.get("input"), error.get("ctx", {})
    if FIX in context:
        return str(error["msg"]), str(context[FIX])
    if kind == "missing":
        return "is missing", "give it a value"
    if kind == "extra_forbidden":
        known = _fields_around(model, error["loc"])
        return "is unknown", (suggest(str(error["loc"][-1]), known) if known else None) or "remove it"
    if kind in _LENGTHS:
        wanted = _LENGTHS[kind].format(**context)
        return f"has a length of {len(value or '')}, but must have {wanted}", f"give {wanted}"
    wanted = _LIMITS[kind].format(**context) if kind in _LIMITS else _kind_wanted(kind)
    if wanted is None:
        return str(error["msg"]).removeprefix("Value error, "), "give a value that fits its schema, see /docs"
    return f"is {_shown(value)}, but must be {wanted}", f"give {wanted}"


def _kind_wanted(kind: str) -> str | None:
    return next((wanted for begin, wanted in _KINDS.items() if kind.startswith(begin)), None)


def _shown(value: Any) -> str:
    if value is _HIDDEN:
        return "something else"
    match value:
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case str():
            return json.dumps(short(value), ensure_ascii=False)
        case None | bool() | int() | float():
            return short(json.dumps(value))
        case _:
            return f"a {type(value).__name__}"


def _fields_around(model: type[BaseModel] | None, loc: tuple[int | str, ...]) -> list[str]:
    """Give the names that stand beside a place; none where the model does not say."""
    for step in loc[:-1]:
        field = None if model is None else model.model_fields.get(str(step))
        model = None if field is None else _model_in(field.annotation)
    return [] if model is None else list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
