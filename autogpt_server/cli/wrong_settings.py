"""What is wrong with the settings, in one line."""

from __future__ import annotations

from pydantic import ValidationError

from autogpt_server.settings import Settings


def describe_wrong_settings(error: Exception) -> str | None:
    """Name each wrong setting and what is wrong with it, without its value, which may be a secret.

    Returns:
        None when the error is about something else.
    """
    if not isinstance(error, ValidationError) or error.title != Settings.__name__:
        return None
    problems = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{_variable(str(problem['loc'][0]))}: {problem['msg']}" for problem in problems)


def _variable(field: str) -> str:
    """Name the environment variable of a field; those with aliases go by the variable already."""
    return f"AUTOGPT_{field.upper()}" if field in Settings.model_fields else field
