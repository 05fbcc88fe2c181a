"""``autogpt task``: what the server does by itself, how it went, and doing it now."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from autogpt_server.cli.options import Json, Limit, Url

app = typer.Typer(help="Look at the tasks that the server does by itself, and run one now.", no_args_is_help=True)

_TaskId = Annotated[str, typer.Argument(metavar="TASK", help="As `autogpt task list` shows it.")]


@app.command("list")
def list_tasks(as_json: Json = False, url: Url = None) -> None:
    """List the tasks with their next and their last runs."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json, print_table

    with connect(url) as client:
        items = client.get("/system/tasks")["items"]
    if as_json:
        print_json(items)
        return
    rows = [(t["id"], t["next_run_at"] or "", *_last(t["last_run"]), t["description"]) for t in items]
    print_table(["Task", "Next run", "Last run", "Outcome", "What it does"], rows, empty="There are none.")


@app.command("runs")
def list_runs(task_id: _TaskId, limit: Limit = 20, as_json: Json = False, url: Url = None) -> None:
    """List the runs of a task, the latest first."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json, print_table

    with connect(url) as client:
        items = list(client.pages(f"/system/tasks/{task_id}/runs", limit))
    if as_json:
        print_json(items)
        return
    rows = [
        (run["started_at"], run["cause"], run["outcome"], _seconds(run), (run["result"] or "").partition("\n")[0])
        for run in items
    ]
    print_table(["Started", "Cause", "Outcome", "Seconds", "Result"], rows, empty="It has not run yet.")


@app.command("run")
def run_task(task_id: _TaskId, as_json: Json = False, url: Url = None) -> None:
    """Have the scheduler do a task now, and show its result."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import out, print_json

    with connect(url) as client:
        run = client.post(f"/system/tasks/{task_id}/run", None)
    if as_json:
        print_json(run)
    else:
        out.print(run["result"] or f"It is {run['outcome']}.", markup=False)


def _last(run: dict[str, Any] | None) -> tuple[str, str]:
    return ("", "") if run is None else (run["started_at"], run["outcome"])


def _seconds(run: dict[str, Any]) -> str:
    return "" if run["duration_seconds"] is None else f"{run['duration_seconds']:.3f}"
