"""Shows figures as a table, and keeps them as JSON or Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure

#: By what was measured on: SQLite, PostgreSQL, or neither.
Results = dict[str, list[Figure]]

_FILE_WIDTH = 150
_COLUMNS = ("work", "must", "aim", "measured", "reached", "beside")
_STYLES = {"aim": "green", "must": "yellow", "no": "bold red", "": ""}


def show(results: Results, title: str) -> None:
    """Print one table."""
    table = Table(*_COLUMNS, title=title, title_justify="left")
    for place, figures in results.items():
        table.add_section()
        table.add_row(f"[bold]{place}[/bold]")
        for figure in figures:
            *cells, reached, beside = _cells(figure)
            style = _STYLES[figure.reached]
            table.add_row(*cells, f"[{style}]{reached}[/{style}]" if style else reached, beside)
    console = Console()
    # Where the output goes to a file, nothing says how wide it may be.
    console.width = console.width if console.is_terminal else _FILE_WIDTH
    console.print(table)


def save(results: Results, title: str, path: Path) -> None:
    """Write the results as JSON, or as Markdown where the file's name ends in ``.md``."""
    if path.suffix == ".md":
        path.write_text(_markdown(results, title), encoding="utf-8")
        return
    figures = {place: [asdict(f) | {"reached": f.reached} for f in some] for place, some in results.items()}
    path.write_text(json.dumps({"title": title, "figures": figures}, indent=2) + "\n", encoding="utf-8")


def _markdown(results: Results, title: str) -> str:
    lines = [f"# {title}"]
    for place, figures in results.items():
        lines += ["", f"## {place}", "", _line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
        lines += [_line(_cells(figure)) for figure in figures]
    return "\n".join(lines) + "\n"


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(figure: Figure) -> tuple[str, ...]:
    target = figure.target
    return (
        figure.work,
        _numbers(target.must, figure.unit) if target else "",
        _numbers(target.aim, figure.unit) if target else "",
        _numbers(figure.values, figure.unit),
        {"no": "NO"}.get(figure.reached, figure.reached),
        "; ".join(figure.notes),
    )


def _numbers(values: tuple[float, ...], unit: str) -> str:
    return f"{' / '.join(_number(value) for value in values)} {unit}"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
