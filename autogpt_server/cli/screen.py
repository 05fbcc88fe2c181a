"""What people see: errors as a readable list, progress lines, tables.  Results go to stdout, the rest to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich import markup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autogpt_server.errors import InvalidError, Problem, ServerError

#: Characters of a value in a table or line.
_VALUE_WIDTH = 2_000

#: Characters of a line that no terminal shows.
_PIPE_WIDTH = 10_000

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

#: Control characters, which a terminal would obey, and what is shown instead.  Lines and tabs stay.
_CONTROLS = (
    {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
    | {0x7F: 0x2421}
    | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
)

STATUS_STYLES = {"COMPLETED": "green", "FAILED": "red", "TERMINATED": "yellow", "RUNNING": "cyan"}


def visible(text: str) -> str:
    """Replace control characters by signs for them: what blocks print is not to steer anybody's terminal."""
    return text.translate(_CONTROLS)


def escape(text: str) -> str:
    """Make any text safe inside what is printed with markup."""
    return markup.escape(visible(text))


def print_error(error: ServerError) -> None:
    """Print an error, with every problem it carries."""
    if isinstance(error, InvalidError):
        err.print(f"[red]✗[/] {escape(error.message)}")
        print_problems(error.problems)
    else:
        err.print(f"[red]✗[/] {escape(str(error))}")


def print_problems(problems: Iterable[Problem], *, mark: str = "-") -> None:
    """Print problems one by one: place, what is wrong, and how to mend it."""
    for problem in problems:
        place = f"[bold]{escape(problem.path)}[/]: " if problem.path else ""
        err.print(f"  {mark} {place}{escape(problem.message)}")
        if problem.fix:
            err.print(f"    [dim]fix: {escape(problem.fix)}[/]")


def print_warnings(warnings: Sequence[Problem]) -> None:
    """Print what was ignored, where anything was."""
    if warnings:
        err.print(f"[yellow]![/] {len(warnings):,} warning{'s' if len(warnings) > 1 else ''}:")
        print_problems(warnings)


def print_json(value: Any) -> None:
    """Print a value as indented JSON, without colours or line breaks of our own."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def note(message: str) -> None:
    """Tell the person at the terminal something that is no result."""
    err.print(f"[dim]{escape(message)}[/]")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Print rows under headings, or say in words that there are none."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        # Ids stay in one piece, to be copied.
        table.add_column(column, overflow="fold", no_wrap=column in ("Id", "Graph"))
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    if table.row_count:
        # Into a pipe or a file, a row is a line.
        Console(highlight=False, width=None if out.is_terminal else _PIPE_WIDTH).print(table)
    else:
        note(empty)


def shown(value: Any) -> str:
    """Write a value for people: text as it is, anything else as JSON, long ones cut."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE_WIDTH else f"{text[:_VALUE_WIDTH]}… ({len(text):,} characters)"


def _cell(value: Any) -> Text:
    text = "" if value is None else visible(str(value))
    return Text(text, style=STATUS_STYLES.get(text, ""))
