"""``autogpt doctor``: what is installed, reachable and writable, and how to mend what is not."""

from __future__ import annotations

import typer

from autogpt_server.cli.options import Json, Url


def doctor(as_json: Json = False, url: Url = None) -> None:
    """Look at everything that a server needs, and say how to mend what is wrong.

    Exit code: 0 all is well, 1 something must be mended.
    """
    from autogpt_server.cli.checks import run_checks
    from autogpt_server.cli.screen import escape, out, print_json

    checks = run_checks(url)
    if as_json:
        print_json([check.as_dict() for check in checks])
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            mark = "[green]✓[/]" if check.ok else "[red]✗[/]"
            out.print(f"{mark} {check.name:<{width}}  {escape(check.detail)}")
            if not check.ok:
                out.print(f"  {'':<{width}}  [yellow]fix: {escape(check.fix)}[/]")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
