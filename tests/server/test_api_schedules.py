"""Schedules over REST: made, changed, paused, tried, made up for; wrong ones are refused by name and leave nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from autogpt_server.data.firing import Firing
from autogpt_server.data.job_tables import JobRow, put_jobs
from autogpt_server.data.schedules import Schedules
from autogpt_server.events.nudge import NudgeReceiver, Topic
from autogpt_server.model.ids import new_id
from autogpt_server.service.run_folder import open_run_folder
from tests.data.schedule_rows import job_of, make_schedule, plan_for
from tests.server.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMED = ({"in": ("AgentInputBlock", {"name": "wanted"})}, [])
CRON = {"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"}
#: In four weeks, whenever this runs.
SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(weeks=4)
#: The day of that in the zone of the schedules.
DAY = SOON.astimezone(ZoneInfo(CRON["timezone"]))


LATER = SOON + timedelta(days=1)


@pytest_asyncio.fixture(loop_scope="module")
async def graph_id(api: Api) -> str:
    return await api.stored()


async def made(api: Api, graph_id: str, **fields: Any) -> dict[str, Any]:
    return await api.call("POST", f"/graphs/{graph_id}/schedules", 201, json=(CRON | fields))


async def test_a_schedule_is_made_and_read_again(api: Api, graph_id: str) -> None:
    whole = {
        "name": "Morning", "inputs": {}, "credentials": {"key": {"id": "c", "provider": "p", "type": "api_key"}},
        "misfire_policy": "all", "misfire_limit": 7, "overlap_policy": "buffer_one", "starts_at": SOON.isoformat(),
        "ends_at": (SOON + timedelta(days=90)).isoformat(), "max_runs": 5, "jitter_seconds": 30,
        "excluded_dates": ["2026-12-24", {"from": "2026-12-25", "to": "2026-12-31", "reason": "holidays"}],
        "pause_after_failures": 3, "graph_version": 1,
    }  # fmt: skip
    schedule = await made(api, graph_id, **whole)
    again = await api.call("GET", f"/schedules/{schedule['id']}", 200)
    assert again == schedule
    assert schedule["description"] == "at 09:00 on weekdays"
    assert schedule["excluded_dates"][0] == {"from": "2026-12-24", "to": "2026-12-24", "reason": None}
    assert {name: schedule[name] for name in ("misfire_limit", "max_runs", "runs", "is_enabled", "revision")} == {
        "misfire_limit": 7, "max_runs": 5, "runs": 0, "is_enabled": True, "revision": 0
    }  # fmt: skip
    assert datetime.fromisoformat(schedule["next_run_at"]) >= SOON
    for path in ("/schedules", f"/graphs/{graph_id}/schedules", f"/schedules?graph_id={graph_id.upper()}"):
        assert schedule in (await api.call("GET", path, 200))["items"]


async def test_other_kinds_of_schedules(api: Api, graph_id: str) -> None:
    once = await api.call("POST", f"/graphs/{graph_id}/schedules", 201, json={"run_at": SOON.isoformat()})
    assert (once["cron"], datetime.fromisoformat(once["next_run_at"]), once["name"]) == ("", SOON, "execute_graph")
    east = {"run_at": f"{SOON:%Y-%m-%dT%H:%M:%S}.1234567+05:30", "starts_at": "2026-01-01T05:30:00+05:30"}
    elsewhere = await api.call("POST", f"/graphs/{graph_id}/schedules", 201, json=east)
    at = (SOON - timedelta(hours=5, minutes=30)).replace(microsecond=123_000)
    assert (elsewhere["run_at"], elsewhere["starts_at"]) == (f"{at:%Y-%m-%dT%H:%M:%S}.123000Z", "2026-01-01T00:00:00Z")
    assert elsewhere["next_run_at"] == elsewhere["run_at"]
    assert elsewhere["description"] == f"once, at {at:%Y-%m-%d %H:%M:%S} UTC"
    assert await api.call("GET", f"/schedules/{elsewhere['id']}", 200) == elsewhere
    often = await api.call("POST", f"/graphs/{graph_id}/schedules", 201, json={"interval_seconds": 90})
    assert often["description"] == "every 90 s"
    for seconds, words in (
        (60, "every minute"),
        (900, "every 15 minutes"),
        (3600, "every hour"),
        (172_800, "every 2 days"),
    ):
        other = await api.call("POST", f"/graphs/{graph_id}/schedules", 201, json={"interval_seconds": seconds})
        assert other["description"] == words
    gap = datetime.fromisoformat(often["next_run_at"]) - datetime.fromisoformat(often["created_at"])
    assert gap == timedelta(seconds=90)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"cron": ""}, "cron"),
        ({"cron": "* * * * * *"}, "cron"),
        ({"cron": "*/0 * * * *"}, "cron"),
        ({"cron": "60 * * * *"}, "cron"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"cron": "@reboot"}, "cron"),
        ({"cron": "0 0 * * ٣"}, "cron"),
        ({"cron": "x" * 10_001}, "cron"),
        ({"cron": "0 0 * *\u0007 *"}, "cron"),
        ({"cron": None}, "cron"),
        ({"cron": 5}, "cron"),
        ({"timezone": "Europe/Berln"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"run_at": SOON.isoformat()}, "run_at"),
        ({"cron": None, "run_at": "2020-01-01T00:00:00Z"}, "run_at"),
        ({"cron": None, "run_at": "2030-01-01T00:00:00"}, "run_at"),
        ({"cron": None, "run_at": "9999-12-31T23:00:00Z"}, "run_at"),
        ({"cron": None, "interval_seconds": 0}, "interval_seconds"),
        ({"cron": None, "interval_seconds": True}, "interval_seconds"),
        ({"cron": None, "interval_seconds": 10**12}, "interval_seconds"),
        ({"cron": None, "interval_seconds": 5, "jitter_seconds": 5}, "jitter_seconds"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "ends_at"),
        ({"starts_at": SOON.isoformat(), "ends_at": "2026-12-01T00:00:00Z"}, "ends_at"),
        ({"misfire_policy": "never"}, "misfire_policy"),
        ({"misfire_limit": 0}, "misfire_limit"),
        ({"misfire_limit": 1001}, "misfire_limit"),
        ({"overlap_policy": True}, "overlap_policy"),
        ({"max_runs": 0}, "max_runs"),
        ({"jitter_seconds": -1}, "jitter_seconds"),
        ({"jitter_seconds": 86_401}, "jitter_seconds"),
        ({"pause_after_failures": 0}, "pause_after_failures"),
        ({"graph_version": 0}, "graph_version"),
        ({"graph_version": 2**31}, "graph_version"),
        ({"graph_version": 10**400}, "graph_version"),
        ({"name": " "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"excluded_dates": ["2026-02-30"]}, "excluded_dates[0]"),
        ({"excluded_dates": [{"from": "2026-02-02", "to": "2026-02-01"}]}, "excluded_dates[0].to"),
        ({"cron": None, "run_at": SOON.isoformat(), "excluded_dates": [f"{DAY:%Y-%m-%d}"]}, "excluded_dates"),
        ({"cron": None, "run_at": SOON.isoformat(), "starts_at": LATER.isoformat()}, "starts_at"),
        ({"cron": "*/5 * * * *", "jitter_seconds": 301}, "jitter_seconds"),
        ({"credentials": {"key": 5}}, "credentials.key"),
        ({"credentials": {"key": {"id": "c", "provider": "p", "type": "none"}}}, "credentials.key.type"),
        ({"inputs": {"x": 1}, "croon": 1}, "croon"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_stored(
    api: Api, graph_id: str, fields: dict[str, Any], path: str
) -> None:
    found, _ = await api.refusal("POST", f"/graphs/{graph_id}/schedules", json=CRON | fields)
    assert found.startswith(path)
    assert (await api.call("GET", f"/graphs/{graph_id}/schedules", 200))["items"] == []


async def test_times_and_days_are_written_in_one_way(api: Api, graph_id: str) -> None:
    path = f"/graphs/{graph_id}/schedules"
    for wrong, told in (
        ("2030-01-01T00:00:00", "has no offset, and means another time in every zone"),
        ("2030-02-30T00:00:00Z", "'2030-02-30T00:00:00Z' is no time"),
        ("٢030-01-01T00:00:00Z", "'٢030-01-01T00:00:00Z' is no time"),
        (4102444800, "it is no time"),
        ("4102444800", "'4102444800' is no time"),
    ):
        assert await api.refusal("POST", path, json={"run_at": wrong}) == ("run_at", told)
    for day, place, told in (
        ("2026-13-01", "excluded_dates[0]", "'2026-13-01' is no day"),
        (86_400, "excluded_dates[0]", "is 86400, but must be an object"),
        ({"from": "2026-01-01"}, "excluded_dates[0].to", "is missing"),
        ({"from": "2026-01-01", "to": 5}, "excluded_dates[0].to", "it is no day"),
        ({"from": "2026-01-01", "to": "2026-01-02", "why": "x"}, "excluded_dates[0].why", "is unknown"),
    ):
        assert await api.refusal("POST", path, json=CRON | {"excluded_dates": [day]}) == (place, told)


async def test_inputs_and_graph_are_checked(api: Api) -> None:
    named = await api.stored(*NAMED)
    path, message = await api.refusal("POST", f"/graphs/{named}/schedules", json=CRON | {"inputs": {"wantd": 1}})
    assert (path, message) == ("inputs.wantd", "the graph has no input of this name")
    await api.call("POST", f"/graphs/{new_id()}/schedules", 404, json=CRON)
    await api.call("POST", f"/graphs/{named}/schedules", 404, json=CRON | {"graph_version": 9, "inputs": {"wanted": 1}})


async def test_a_schedule_is_changed_in_parts(api: Api, graph_id: str) -> None:
    schedule = await made(api, graph_id, name="old", jitter_seconds=5)
    path = f"/schedules/{schedule['id']}"
    changed = await api.call("PATCH", path, 200, json={"name": "new", "cron": "30 7 * * *"})
    assert (changed["name"], changed["jitter_seconds"], changed["timezone"]) == ("new", 5, "Europe/Berlin")
    assert changed["description"] == "at 07:30 every day"
    assert changed["revision"] == 1
    once = await api.call("PATCH", path, 200, json={"run_at": SOON.isoformat(), "jitter_seconds": 0})
    assert (once["cron"], datetime.fromisoformat(once["next_run_at"])) == ("", SOON)
    assert (await api.refusal("PATCH", path, json={"cron": "0 0 31 2 *"}))[0] == "cron"
    assert await api.call("GET", path, 200) == once


async def test_a_name_that_is_taken_away_is_the_default_again(api: Api, graph_id: str) -> None:
    schedule = await made(api, graph_id, name="old")
    assert (await api.call("PATCH", f"/schedules/{schedule['id']}", 200, json={"name": None}))[
        "name"
    ] == "execute_graph"


async def test_one_that_is_over_goes_on_when_it_may_run_more_often(api: Api, graph_id: str) -> None:
    over = make_schedule(graph_id, max_runs=2, runs=2, next_run_at=None)
    Schedules(api.services.database, lambda ids: None).create(over, None)
    path = f"/schedules/{over.id}"
    assert (await api.refusal("PATCH", path, json={"cron": "@daily"}))[0] == "max_runs"
    await api.call("POST", f"{path}/pause", 200)
    await api.call("POST", f"{path}/resume", 409)
    more = await api.call("PATCH", path, 200, json={"max_runs": 3, "is_enabled": True})
    assert (more["is_enabled"], more["next_run_at"] is not None) == (True, True)
    assert (await api.refusal("PATCH", path, json={"max_runs": 1}))[0] == "max_runs"


async def test_a_change_happens_whole_or_not_at_all(api: Api, graph_id: str) -> None:
    schedule = await made(api, graph_id)
    path = f"/schedules/{schedule['id']}"
    paused = await api.call("POST", f"{path}/pause", 200, json={"reason": "later"})
    over = {"ends_at": "2020-01-01T00:00:00Z", "is_enabled": True}
    assert (await api.refusal("PATCH", path, json=over))[0] == "ends_at"
    assert await api.call("GET", path, 200) == paused
    both = await api.call("PATCH", path, 200, json={"cron": "@daily", "is_enabled": True})
    assert (both["cron"], both["is_enabled"], both["paused_reason"]) == ("@daily", True, None)
    both = await api.call("PATCH", path, 200, json={"cron": "@hourly", "is_enabled": False})
    assert (both["cron"], both["is_enabled"], both["next_run_at"]) == ("@hourly", False, None)


async def test_a_row_that_somebody_spoilt_hides_no_other(api: Api, graph_id: str) -> None:
    spoilt = make_schedule(graph_id, cron="whenever")
    Schedules(api.services.database, lambda ids: None).create(spoilt, job_of(spoilt))
    schedule = await made(api, graph_id)
    listed = (await api.call("GET", f"/graphs/{graph_id}/schedules", 200))["items"]
    assert [one["id"] for one in listed] == [schedule["id"], spoilt.id]
    assert listed[1]["description"] == "never: The cron expression 'whenever' is not valid."
    await api.call("DELETE", f"/schedules/{spoilt.id}", 204)


async def test_a_schedule_is_paused_with_a_note_and_resumed(api: Api, graph_id: str) -> None:
    schedule = await made(api, graph_id)
    path = f"/schedules/{schedule['id']}"
    paused = await api.call("POST", f"{path}/pause", 200, json={"reason": "holidays", "by": "ann"})
    told = [paused[name] for name in ("is_enabled", "paused_reason", "paused_by", "next_run_at")]
    assert told == [False, "holidays", "ann", None]
    resumed = await api.call("POST", f"{path}/resume", 200)
    assert (resumed["paused_reason"], resumed["next_run_at"]) == (None, schedule["next_run_at"])
    assert (await api.call("PATCH", path, 200, json={"is_enabled": False}))["next_run_at"] is None
    assert (await api.call("PATCH", path, 200, json={"is_enabled": True}))["next_run_at"] is not None


async def test_a_deleted_schedule_is_gone(api: Api, graph_id: str) -> None:
    schedule = await made(api, graph_id)
    path = f"/schedules/{schedule['id']}"
    await api.call("DELETE", path, 204)
    for method, more in (("GET", ""), ("DELETE", ""), ("POST", "/resume"), ("POST", "/run-now"), ("GET", "/slots")):
        await api.call(method, f"{path}{more}", 404)
    assert (await api.call("GET", f"/graphs/{graph_id}/schedules", 200))["items"] == []


async def test_another_users_schedule_is_not_there(api: Api, graph_id: str) -> None:
    foreign = make_schedule(graph_id, user_id="somebody")
    Schedules(api.services.database, lambda ids: None).create(foreign, job_of(foreign))
    path = f"/schedules/{foreign.id}"
    now = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
    for method, more, body in (
        ("GET", "", None), ("PATCH", "", {"name": "x"}), ("DELETE", "", None), ("POST", "/pause", {}),
        ("POST", "/resume", None), ("POST", "/run-now", None), ("GET", "/slots", None),
        ("POST", "/backfill", now), ("POST", "/backfill/preview", now),
    ):  # fmt: skip
        await api.call(method, f"{path}{more}", 404, json=body)
    assert (await api.call("GET", f"/graphs/{graph_id}/schedules", 200))["items"] == []
    assert Schedules(api.services.database, lambda ids: None).find(foreign.id) == foreign


async def test_a_preview_tells_words_times_and_changes_of_the_clock(api: Api) -> None:
    body = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "count": 2, "after": "2026-03-28T00:00:00Z"}
    told = await api.call("POST", "/schedules/preview", 200, json=body)
    assert told["description"] == "at 02:30 every day"
    assert told["runs"] == [
        {"utc": "2026-03-28T01:30:00Z", "local": "2026-03-28T02:30:00+01:00"},
        {"utc": "2026-03-29T01:00:00Z", "local": "2026-03-29T03:00:00+02:00"},
    ]
    assert len(told["warnings"]) == 1
    for wrong, path in (
        ({"count": 101}, "count"),
        ({"cron": "61 * * * *"}, "cron"),
        ({"timezone": "Mars"}, "timezone"),
        ({"after": "9999-12-31T23:59:59-12:00"}, "after"),
        ({"after": "0001-01-01T00:00:00+14:00"}, "after"),
    ):
        assert (await api.refusal("POST", "/schedules/preview", json=body | wrong))[0] == path


async def test_run_now_executes_beside_the_times(api: Api, graph_id: str) -> None:
    schedule = await made(api, graph_id)
    await api.call("POST", f"/schedules/{schedule['id']}/pause", 200)
    for more in ("run-now", "resume"):
        path = f"/schedules/{schedule['id']}/{more}"
        assert await api.refusal("POST", path, json={"inputs": {}}) == ("inputs", "is unknown")
    accepted = await api.call("POST", f"/schedules/{schedule['id']}/run-now", 202, json={})
    execution = await api.call("GET", f"/executions/{accepted['id']}", 200)
    assert (execution["schedule_id"], execution["scheduled_at"]) == (schedule["id"], None)
    assert (await api.call("GET", f"/schedules/{schedule['id']}", 200))["next_run_at"] is None


async def test_slots_are_listed_in_pages(api: Api, graph_id: str) -> None:
    schedule = make_schedule(graph_id)
    database = api.services.database
    Schedules(database, lambda ids: None).create(schedule, job_of(schedule))
    first = schedule.next_run_at
    assert first is not None
    Firing(database).fire([plan_for(schedule, *(first + timedelta(hours=i) for i in (1, 2)))])
    path = f"/schedules/{schedule.id}/slots"
    page = await api.call("GET", f"{path}?limit=2", 200)
    rest = await api.call("GET", f"{path}?limit=2&cursor={page['next_cursor']}", 200)
    slots = page["items"] + rest["items"]
    assert [slot["scheduled_at"] for slot in slots] == [f"2026-01-01T1{i}:00:00Z" for i in (4, 3, 2)]
    assert {slot["outcome"] for slot in slots} == {"fired"}
    execution = await api.call("GET", f"/executions/{slots[0]['graph_execution_id']}", 200)
    assert (execution["schedule_id"], execution["scheduled_at"]) == (schedule.id, slots[0]["scheduled_at"])
    await api.refusal("GET", f"{path}?cursor=bm9uZQ")


async def test_a_backfill_runs_what_has_no_execution(api: Api, graph_id: str) -> None:
    schedule = await made(api, graph_id, cron="0 * * * *", timezone="UTC", starts_at=SOON.isoformat())
    path = f"/schedules/{schedule['id']}/backfill"
    body = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T05:00:00Z", "max_concurrent": 2}
    told = await api.call("POST", f"{path}/preview", 200, json={"from": body["from"], "to": body["to"]})
    assert told == {"slots": 6, "to_run": 6, "first": body["from"], "last": body["to"]}
    ids = (await api.call("POST", path, 202, json=body))["ids"]
    assert len(ids) == 6
    assert (await api.call("POST", path, 202, json=body))["ids"] == []
    execution = await api.call("GET", f"/executions/{ids[0]}", 200)
    assert execution["scheduled_at"] == body["from"]
    with api.services.database.read() as c:
        text = api.services.database.sql('SELECT DISTINCT "lane","laneLimit" FROM "AgentGraphExecution" WHERE "id" = ?')
        assert c.execute(text, (ids[0],)).all() == [(f"backfill:{schedule['id']}", 2)]
    slots = (await api.call("GET", f"/schedules/{schedule['id']}/slots", 200))["items"]
    assert {(slot["outcome"], slot["reason"]) for slot in slots} == {("late", "backfill")}
    for wrong, where in (
        ({"to": "2025-01-01T00:00:00Z"}, "to"), ({"to": "2099-01-01T00:00:00Z"}, "to"),
        ({"from": "2025-01-01T00:00:00Z"}, "to"), ({"max_concurrent": 0}, "max_concurrent"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "from"), ({"to": "9999-12-31T23:59:59-12:00"}, "to"),
    ):  # fmt: skip
        assert (await api.refusal("POST", path, json=body | wrong))[0] == where


async def test_a_backfill_leaves_excluded_days_out(api: Api, graph_id: str) -> None:
    schedule = await made(api, graph_id, cron="0 12 * * *", excluded_dates=[{"from": "2026-01-02", "to": "2026-01-03"}])
    body = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-05T00:00:00Z"}
    told = await api.call("POST", f"/schedules/{schedule['id']}/backfill/preview", 200, json=body)
    assert (told["slots"], told["to_run"]) == (2, 2)


async def test_who_fires_schedules_is_told_of_every_change(api: Api, graph_id: str) -> None:
    heard: asyncio.Queue[list[str]] = asyncio.Queue()
    receiver = NudgeReceiver(open_run_folder(api.settings), Topic.SCHEDULES, "test")
    await receiver.open(heard.put_nowait)
    try:
        schedule = await made(api, graph_id)
        await api.call("PATCH", f"/schedules/{schedule['id']}", 200, json={"name": "x"})
        await api.call("DELETE", f"/schedules/{schedule['id']}", 204)
        async with asyncio.timeout(10):
            for _ in range(3):
                assert await heard.get() == [schedule["id"]]
    finally:
        receiver.close()


async def test_rows_that_cannot_be_restored_are_shown_and_deleted_on_request(api: Api) -> None:
    database = api.services.database
    with database.write() as c:
        put_jobs(database, c, [JobRow("tampered/with", None, b"garbage")])
    (parked,) = [one for one in await api.call("GET", "/schedules/parked", 200) if one["id"] == "tampered/with"]
    assert parked["table"] == "apscheduler_jobs"
    assert "cannot be read" in parked["reason"]
    path = "/schedules/parked/tampered%2Fwith"
    await api.call("DELETE", f"{path}?table=apscheduler_jobs_batched_notifications", 404)
    assert (await api.refusal("DELETE", f"{path}?table=User"))[0] == "table"
    await api.call("DELETE", path, 204)
    await api.call("DELETE", path, 404)
    assert "tampered/with" not in [one["id"] for one in await api.call("GET", "/schedules/parked", 200)]


async def test_lists_are_of_paused_ones_or_of_those_that_are_not(api: Api, graph_id: str) -> None:
    kept, paused = await made(api, graph_id), await made(api, graph_id)
    await api.call("POST", f"/schedules/{paused['id']}/pause", 200)
    for path in (f"/schedules?graph_id={graph_id}&", f"/graphs/{graph_id}/schedules?"):
        for query, expected in (("", [paused, kept]), ("is_enabled=true", [kept]), ("is_enabled=false", [paused])):
            items = (await api.call("GET", f"{path}{query}", 200))["items"]
            assert [one["id"] for one in items] == [one["id"] for one in expected]
    assert (await api.refusal("GET", "/schedules?is_enabled=maybe"))[0] == "is_enabled"
