"""Every endpoint of the server, with what a key must allow for it.  Whoever adds an endpoint adds a line here."""

from __future__ import annotations

from typing import NamedTuple

from autogpt_server.model.principal import Scope

READ, WRITE, EXECUTE, ADMIN = Scope.READ, Scope.WRITE, Scope.EXECUTE, Scope.ADMIN


class Endpoint(NamedTuple):
    method: str
    path: str
    #: None where no key is needed.
    scope: Scope | None
    #: What is sent where it is allowed; it need not be taken.
    body: object = None
    #: Whether the path names an object that belongs to somebody: another user's is not found.
    is_owned: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def _owned(method: str, path: str, scope: Scope, body: object = None) -> Endpoint:
    return Endpoint(method, path, scope, body, is_owned=True)


_GRAPH, _EXECUTION = "/api/graphs/{graph_id}", "/api/executions/{execution_id}"
_SCHEDULE, _KEY, _USER = "/api/schedules/{schedule_id}", "/api/keys/{key_id}", "/api/users/{user_id}"
_FILE = "/api/files/{file_id}"
_CREDENTIALS = "/api/credentials/{credentials_id}"
_TARGET = "/api/notifications/targets/{target_id}"
_RANGE = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}

ENDPOINTS = (
    Endpoint("GET", "/api/blocks", READ),
    Endpoint("GET", "/api/blocks/{name}", READ),
    Endpoint("POST", "/api/blocks/{name}/execute", EXECUTE, {}),
    Endpoint("GET", "/api/graphs", READ),
    Endpoint("POST", "/api/graphs", WRITE, {}),
    _owned("GET", _GRAPH, READ),
    _owned("PUT", _GRAPH, WRITE, {}),
    _owned("DELETE", _GRAPH, WRITE),
    _owned("GET", f"{_GRAPH}/versions", READ),
    _owned("GET", f"{_GRAPH}/versions/{{version}}", READ),
    _owned("PUT", f"{_GRAPH}/versions/active", WRITE, {"version": 1}),
    _owned("GET", f"{_GRAPH}/input_schema", READ),
    _owned("GET", f"{_GRAPH}/output_schema", READ),
    _owned("POST", f"{_GRAPH}/execute", EXECUTE, {}),
    _owned("POST", f"{_GRAPH}/execute/batch", EXECUTE, {"inputs": [{}]}),
    _owned("GET", f"{_GRAPH}/executions", READ),
    # A list of what is one's own: schedules outlive their graph, so whose that is does not matter.
    Endpoint("GET", f"{_GRAPH}/schedules", READ),
    _owned("POST", f"{_GRAPH}/schedules", WRITE, {"cron": "@daily", "inputs": {}}),
    Endpoint("GET", "/api/executions", READ),
    _owned("GET", _EXECUTION, READ),
    _owned("GET", f"{_EXECUTION}/events", READ),
    _owned("GET", f"{_EXECUTION}/why", READ),
    _owned("POST", f"{_EXECUTION}/stop", EXECUTE),
    _owned("POST", f"{_EXECUTION}/pause", EXECUTE),
    _owned("POST", f"{_EXECUTION}/resume", EXECUTE),
    _owned("POST", f"{_EXECUTION}/rerun", EXECUTE, {}),
    Endpoint("GET", "/api/schedules", READ),
    Endpoint("POST", "/api/schedules/preview", READ, {"cron": "@daily", "timezone": "UTC"}),
    Endpoint("GET", "/api/schedules/parked", ADMIN),
    Endpoint("DELETE", "/api/schedules/parked/{job_id}", ADMIN),
    _owned("GET", _SCHEDULE, READ),
    _owned("PATCH", _SCHEDULE, WRITE, {"name": "other"}),
    _owned("DELETE", _SCHEDULE, WRITE),
    _owned("POST", f"{_SCHEDULE}/pause", WRITE, {}),
    _owned("POST", f"{_SCHEDULE}/resume", WRITE),
    _owned("POST", f"{_SCHEDULE}/run-now", EXECUTE),
    _owned("GET", f"{_SCHEDULE}/slots", READ),
    _owned("GET", f"{_SCHEDULE}/why", READ),
    _owned("POST", f"{_SCHEDULE}/backfill", EXECUTE, _RANGE),
    _owned("POST", f"{_SCHEDULE}/backfill/preview", READ, _RANGE),
    Endpoint("GET", "/api/files", READ),
    Endpoint("POST", "/api/files", WRITE),
    Endpoint("POST", "/api/files/cleanup", ADMIN),
    _owned("GET", _FILE, READ),
    _owned("PATCH", _FILE, WRITE, {"name": "other"}),
    _owned("DELETE", _FILE, WRITE),
    _owned("POST", f"{_FILE}/link", READ, {}),
    _owned("GET", f"{_FILE}/content", READ),
    Endpoint("GET", "/api/notifications", READ),
    Endpoint("GET", "/api/notifications/preferences", READ),
    Endpoint("PUT", "/api/notifications/preferences", WRITE, {"frequencies": {}}),
    Endpoint("GET", "/api/notifications/targets", READ),
    Endpoint("POST", "/api/notifications/targets", WRITE, {"kind": "mail", "address": "none"}),
    _owned("PATCH", _TARGET, WRITE, {"is_enabled": True}),
    _owned("DELETE", _TARGET, WRITE),
    _owned("POST", f"{_TARGET}/test", WRITE),
    Endpoint("GET", "/api/credentials", READ),
    Endpoint("POST", "/api/credentials", WRITE, {"provider": "acme", "secrets": {"type": "none"}}),
    Endpoint("GET", "/api/credentials/providers", READ),
    Endpoint("POST", "/api/credentials/oauth/{provider}/start", WRITE, {}),
    # Its state is what lets in.
    Endpoint("GET", "/api/credentials/oauth/callback", None),
    _owned("GET", _CREDENTIALS, READ),
    _owned("PATCH", _CREDENTIALS, WRITE, {"title": "other"}),
    _owned("DELETE", _CREDENTIALS, WRITE),
    Endpoint("GET", "/api/alerts", READ),
    Endpoint("GET", "/api/block-stats", READ),
    Endpoint("GET", "/api/system/tasks", ADMIN),
    Endpoint("GET", "/api/system/tasks/{task_id}/runs", ADMIN),
    Endpoint("POST", "/api/system/tasks/{task_id}/run", ADMIN),
    Endpoint("GET", "/api/me", READ),
    Endpoint("PATCH", "/api/me", WRITE, {"name": "Somebody"}),
    Endpoint("GET", "/api/users", ADMIN),
    Endpoint("POST", "/api/users", ADMIN, {"email": "no address"}),
    Endpoint("GET", _USER, ADMIN),
    Endpoint("PATCH", _USER, ADMIN, {"timezone": "no zone"}),
    Endpoint("DELETE", _USER, ADMIN),
    Endpoint("GET", "/api/keys", READ),
    Endpoint("POST", "/api/keys", WRITE, {"name": "another"}),
    Endpoint("DELETE", _KEY, WRITE, is_owned=True),
    Endpoint("POST", "/api/keys/claim", None, {"token": "none"}),
    Endpoint("GET", "/api/health", None),
    Endpoint("GET", "/api/metrics", READ),
)
