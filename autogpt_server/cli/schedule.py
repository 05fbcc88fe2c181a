"""``autogpt schedule``: execute graphs by cron, at one time or every so often, and see what became of each time."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from autogpt_server.cli.options import GraphId, InputFile, Inputs, Json, Limit, Url

app = typer.Typer(help="Execute graphs by cron, at one time, or every so often.", no_args_is_help=True)

_ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE_ID", help="Id that adding it printed.")]
_Timezone = Annotated[str | None, typer.Option("--timezone", metavar="ZONE", help="As Europe/Berlin; UTC by default.")]
_From = Annotated[str, typer.Option("--from", metavar="TIME", help="Begin of the range; UTC where no offset is given.")]
_To = Annotated[str, typer.Option("--to", metavar="TIME", help="End of the range, included.")]


@app.command("add")
def add_schedule(
    graph_id: GraphId,
    cron: Annotated[
        str | None,
        typer.Option("--cron", metavar="EXPRESSION", help="As '0 9 * * 1-5' or @daily; see docs/schedules.md."),
    ] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="Once, at this time.")] = None,
    every: Annotated[str | None, typer.Option("--every", metavar="DURATION", help="As 90s, 15m, 6h or 1d.")] = None,
    timezone: _Timezone = None,
    name: Annotated[str | None, typer.Option("--name", help="What to call it.")] = None,
    inputs: Inputs = None,
    input_file: InputFile = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Of the graph; otherwise whichever is active then.")
    ] = None,
    misfire: Annotated[
        str | None, typer.Option("--misfire", metavar="skip|latest|all", help="What to do with times that were missed.")
    ] = None,
    misfire_limit: Annotated[
        int | None,
        typer.Option("--misfire-limit", min=1, help="Missed times that 'all' makes up for, the latest ones."),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            "--overlap", metavar="allow|skip|buffer_one|cancel_running", help="What to do while the last one runs."
        ),
    ] = None,
    jitter: Annotated[
        str | None, typer.Option("--jitter", metavar="DURATION", help="Put off by a part of this.")
    ] = None,
    starts: Annotated[str | None, typer.Option("--starts", metavar="TIME", help="No run before.")] = None,
    ends: Annotated[str | None, typer.Option("--ends", metavar="TIME", help="No run after.")] = None,
    max_runs: Annotated[int | None, typer.Option("--max-runs", min=1, help="Runs in all.")] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="DATE[..DATE][=REASON]", help="Days without runs; may be repeated."),
    ] = None,
    pause_after_failures: Annotated[
        int | None, typer.Option("--pause-after-failures", min=1, help="Pause it after so many in a row.")
    ] = None,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Schedule a graph, and say when it runs next."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.inputs import parse_inputs
    from autogpt_server.cli.schedule_options import parse_duration, parse_exclusion, parse_time
    from autogpt_server.cli.screen import print_json

    wanted: dict[str, Any] = {
        "cron": cron,
        "run_at": parse_time("--at", at),
        "interval_seconds": parse_duration("--every", every),
        "timezone": timezone,
        "name": name,
        "inputs": parse_inputs(inputs or (), input_file),
        "graph_version": version,
        "misfire_policy": misfire,
        "misfire_limit": misfire_limit,
        "overlap_policy": overlap,
        "jitter_seconds": parse_duration("--jitter", jitter),
        "starts_at": parse_time("--starts", starts),
        "ends_at": parse_time("--ends", ends),
        "max_runs": max_runs,
        "excluded_dates": [parse_exclusion(one) for one in exclude or ()],
        "pause_after_failures": pause_after_failures,
    }
    body = {field: value for field, value in wanted.items() if value is not None}
    with connect(url) as client:
        schedule = client.post(_path_of_graph(graph_id), body)
    if as_json:
        print_json(schedule)
    else:
        print(schedule["id"])
        _tell(schedule)


@app.command("list")
def list_schedules(
    graph: Annotated[str | None, typer.Option("--graph", metavar="GRAPH_ID", help="Only those of this graph.")] = None,
    paused: Annotated[
        bool | None, typer.Option("--paused/--enabled", help="Only those that are paused, or that are not.")
    ] = None,
    limit: Limit = 20,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """List schedules, newest first."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json, print_table

    with connect(url) as client:
        path = "/schedules" if graph is None else _path_of_graph(graph)
        items = list(client.pages(path, limit, is_enabled=None if paused is None else not paused))
    if as_json:
        print_json(items)
        return
    rows = [(s["id"], s["name"], s["description"], s["timezone"], s["next_run_at"] or _state(s)) for s in items]
    empty = "No schedules yet; try: autogpt schedule add GRAPH_ID --cron '0 9 * * *'"
    print_table(["Id", "Name", "When", "Zone", "Next"], rows, empty=empty)


@app.command("show")
def show_schedule(schedule_id: _ScheduleId, as_json: Json = False, url: Url = None) -> None:
    """Show a schedule, with everything that it was given."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import note, print_json, print_table, shown

    with connect(url) as client:
        schedule = client.get(_path(schedule_id))
    if as_json:
        print_json(schedule)
        return
    given = [(field, shown(value)) for field, value in schedule.items() if value not in (None, [], {}, "")]
    print_table(["Field", "Value"], [row for row in given if row[0] != "warnings"], empty="")
    for warning in schedule["warnings"]:
        note(f"! {warning}")


@app.command("pause")
def pause_schedule(
    schedule_id: _ScheduleId,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for whoever looks at it later.")] = None,
    url: Url = None,
) -> None:
    """Let a schedule run no more until it is resumed."""
    from autogpt_server.cli.client import connect

    with connect(url) as client:
        client.post(f"{_path(schedule_id)}/pause", {} if reason is None else {"reason": reason})
    print("It is paused.")


@app.command("resume")
def resume_schedule(schedule_id: _ScheduleId, url: Url = None) -> None:
    """Let a paused schedule run again, from its next time on."""
    from autogpt_server.cli.client import connect

    with connect(url) as client:
        _tell(client.post(f"{_path(schedule_id)}/resume", None))


@app.command("run-now")
def run_schedule_now(schedule_id: _ScheduleId, as_json: Json = False, url: Url = None) -> None:
    """Execute a schedule's graph with its inputs, beside its times; prints the execution's id."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json

    with connect(url) as client:
        accepted = client.post(f"{_path(schedule_id)}/run-now", None)
    if as_json:
        print_json(accepted)
    else:
        print(accepted["id"])


@app.command("delete")
def delete_schedule(schedule_id: _ScheduleId, url: Url = None) -> None:
    """Delete a schedule for good; its executions stay."""
    from autogpt_server.cli.client import connect

    with connect(url) as client:
        client.delete(_path(schedule_id))
    print("It is deleted.")


@app.command("preview")
def preview_schedule(
    cron: Annotated[str, typer.Argument(metavar="EXPRESSION", help="As '0 9 * * 1-5' or @daily.")],
    timezone: _Timezone = None,
    count: Annotated[int, typer.Option("--count", min=1, max=100, help="How many runs to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Tell in words when a cron expression comes, and its next times.  Needs no server."""
    from autogpt_server.cli.screen import note, print_json, print_table
    from autogpt_server.model import clock
    from autogpt_server.scheduler.cron import parse_cron
    from autogpt_server.scheduler.preview import preview
    from autogpt_server.scheduler.zones import parse_zone

    found = preview(parse_cron(cron), parse_zone(timezone or "UTC"), clock.now(), count)
    runs = [(f"{run.local:%Y-%m-%d %H:%M %Z (%a)}", f"{run.utc:%Y-%m-%d %H:%M}") for run in found.runs]
    if as_json:
        times = [{"utc": f"{run.utc:%Y-%m-%dT%H:%M:%SZ}", "local": run.local.isoformat()} for run in found.runs]
        print_json({"description": found.description, "runs": times, "warnings": list(found.warnings)})
        return
    print(found.description)
    print_table(["Local", "UTC"], runs, empty="It never comes.")
    for warning in found.warnings:
        note(f"! {warning}")


@app.command("backfill")
def backfill_schedule(
    schedule_id: _ScheduleId,
    first: _From,
    last: _To,
    max_concurrent: Annotated[int, typer.Option("--max-concurrent", min=1, max=1000, help="At the same time.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would run.")] = False,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Execute what a schedule would have run in a range of the past, as far as it has not."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.schedule_options import parse_time
    from autogpt_server.cli.screen import print_json

    body = {"from": parse_time("--from", first), "to": parse_time("--to", last)}
    path = f"{_path(schedule_id)}/backfill"
    with connect(url) as client:
        if dry_run:
            answer = client.post(f"{path}/preview", body)
            told = f"It has {answer['slots']:,} times in the range; {answer['to_run']:,} of them would run."
        else:
            answer = client.post(path, body | {"max_concurrent": max_concurrent})
            told = "\n".join(answer["ids"]) or "Every time in the range has an execution already."
    if as_json:
        print_json(answer)
    else:
        print(told)


@app.command("slots")
def list_slots(schedule_id: _ScheduleId, limit: Limit = 20, as_json: Json = False, url: Url = None) -> None:
    """List what became of each time at which a schedule was due, the latest first."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json, print_table

    with connect(url) as client:
        items = list(client.pages(f"{_path(schedule_id)}/slots", limit))
    if as_json:
        print_json(items)
        return
    rows = [(_span(s), s["outcome"], s["reason"] or "", s["graph_execution_id"] or "") for s in items]
    print_table(["Due", "Outcome", "Reason", "Id"], rows, empty="It has not been due yet.")


@app.command("parked")
def list_parked(as_json: Json = False, url: Url = None) -> None:
    """List job rows of other deployments that cannot be restored: they are neither run nor deleted."""
    from autogpt_server.cli.client import connect
    from autogpt_server.cli.screen import print_json, print_table

    with connect(url) as client:
        items: list[dict[str, Any]] = client.get("/schedules/parked")
    if as_json:
        print_json(items)
    else:
        print_table(["Id", "Table", "Reason"], [(p["id"], p["table"], p["reason"]) for p in items], empty="None.")


@app.command("delete-parked")
def delete_parked(
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID", help="As `parked` lists it.")],
    table: Annotated[str, typer.Option("--table", metavar="NAME", help="As well.")] = "apscheduler_jobs",
    url: Url = None,
) -> None:
    """Delete a job row that cannot be restored, for good."""
    from urllib.parse import quote

    from autogpt_server.cli.client import connect
    from autogpt_server.errors import ParkedJobNotFound

    # Addresses that mean others.
    if job_id in ("", ".", ".."):
        raise ParkedJobNotFound(job_id)
    with connect(url) as client:
        client.delete(f"/schedules/parked/{quote(job_id, safe='')}", table=table)
    print("It is deleted.")


def _path(schedule_id: str) -> str:
    from urllib.parse import quote

    from autogpt_server.errors import ScheduleNotFound

    # What stands at these addresses is no schedule.
    if schedule_id in ("", ".", "..", "parked", "preview"):
        raise ScheduleNotFound(schedule_id)
    return f"/schedules/{quote(schedule_id, safe='')}"


def _path_of_graph(graph_id: str) -> str:
    from urllib.parse import quote

    return f"/graphs/{quote(graph_id, safe='')}/schedules"


def _span(slot: dict[str, Any]) -> str:
    if slot["last_scheduled_at"] is None:
        return slot["scheduled_at"]
    count = "many" if slot["count"] is None else f"{slot['count']:,}"
    return f"{slot['scheduled_at']} … {slot['last_scheduled_at']} ({count})"


def _state(schedule: dict[str, Any]) -> str:
    if schedule["is_enabled"]:
        return "over"
    return f"paused: {schedule['paused_reason']}" if schedule["paused_reason"] else "paused"


def _tell(schedule: dict[str, Any]) -> None:
    from datetime import datetime

    from autogpt_server.cli.screen import note
    from autogpt_server.scheduler.zones import parse_zone

    if schedule["next_run_at"] is None:
        note(f"It runs {schedule['description']}; {_state(schedule)}.")
        return
    moment = datetime.fromisoformat(schedule["next_run_at"])
    local = moment.astimezone(parse_zone(schedule["timezone"]))
    note(
        f"It runs {schedule['description']} ({schedule['timezone']}); next at {local:%Y-%m-%d %H:%M:%S %Z}, "
        f"which is {moment:%Y-%m-%d %H:%M:%S} UTC."
    )
