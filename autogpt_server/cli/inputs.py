"""Inputs of an execution as they are written on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autogpt_server.cli.graph_file import read_json
from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.jsonvalue import loads


def parse_inputs(pairs: Iterable[str], file: Path | None) -> dict[str, Any]:
    """Build the input dict: first the file's object, then ``name=value`` pairs over it.

    Raises:
        InvalidError: A pair has no "=", a name comes twice, or the file holds no JSON object.
    """
    inputs: dict[str, Any] = {}
    if file is not None:
        document = read_json(file)
        if not isinstance(document, dict):
            raise InvalidError(
                "Bad inputs.", [Problem(str(file), "holds no JSON object", 'write {"name": value, ...}')]
            )
        inputs = {**document}
    named: set[str] = set()
    problems: list[Problem] = []
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            problems.append(Problem("--input", f"{pair!r} is no NAME=VALUE", "for example: --input city=Oslo"))
        elif name in named:
            problems.append(Problem("--input", f"{name} is given twice", "give a list as JSON: --input 'names=[1, 2]'"))
        named.add(name)
        inputs[name] = parse_value(text)
    if problems:
        raise InvalidError("Bad inputs.", problems)
    return inputs


def parse_value(text: str) -> Any:
    """Read a value as JSON where it is JSON, and take it as text where not."""
    try:
        return loads(text)
    except ValueError:
        return text
