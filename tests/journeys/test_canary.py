"""What credentials hold comes out nowhere.

Canaries go through a whole server as an API key, a password, a header, an access and a refresh token, into blocks that
yield, encode, raise, log, print, stream and store them, in all kinds of processes; into bad requests, a schedule, a
block that is executed by itself, and an echoing web server.  Then everything is searched for them, plain, in base64,
in URLs and in hexadecimal:

- every byte of the data folder: database, write-ahead log, users' files, storage, mails, the log of all processes
- every row of every table, with a dump of PostgreSQL
- all answers of REST: executions, node executions, logs, credentials, schedules, graphs, refused requests
- the streams of events, over HTTP and the websocket
- exports: graphs, a backup
- ``/metrics`` and ``/api/system``
- what the commands print
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from postgres_server import find_binaries
from running_server import ROOT, Server
from websockets.sync.client import connect as connect_websocket

from autogpt_server.data.database import Database
from tests.credentials.provider import Provider, running_provider
from tests.make_settings import make_settings
from tests.secret_blocks import ALL, WAYS

Start = Callable[..., AbstractContextManager[Server]]

#: None of them stands in anything by chance, and each looks different in every form.
CANARIES = {
    "api_key": "cAnArY/+&k3y=%47 11?xyzw",
    "password": 'cAnArY"p<a>ss\\w0rd+/=&',
    "header": "Token cAnArY-he4der~/+=&%2F",
}
CLASSES = ("TellingBlock", "AsyncTellingBlock", "HeavyTellingBlock", "StreamTellingBlock")


def forms(secret: str) -> list[bytes]:
    """The forms in which a secret is searched for."""
    raw = secret.encode()
    inner = base64.b64encode(b"user:" + raw)[8:-4]
    return [
        raw, quote(secret, safe="").encode(), quote(secret).encode(), raw.hex().encode(), base64.b64encode(raw)[:-4],
        inner, base64.urlsafe_b64encode(b"user:" + raw)[8:-4], json.dumps(secret)[1:-1].encode(),
    ]  # fmt: skip


class Search:
    """Remembers where what was looked at."""

    def __init__(self, secrets: list[str]) -> None:
        self._forms = {form: secret for secret in secrets for form in forms(secret)}
        self.places: list[str] = []
        self.found: list[str] = []

    def look(self, place: str, content: bytes | str) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.places.append(place)
        self.found += [f"{place}: {form!r}" for form in self._forms if form in data]


@contextmanager
def echo() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A web server that answers with what it was sent, and remembers the headers."""
    heard: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append({name.lower(): value for name, value in self.headers.items()})
            body = json.dumps({"headers": dict(self.headers)}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def meta(credentials: dict[str, Any]) -> dict[str, Any]:
    return {key: credentials[key] for key in ("id", "provider", "type", "title")}


def telling_graph(block: str, number: int) -> dict[str, Any]:
    def id_(i: int) -> str:
        return f"c3{number:06d}-0000-4000-8000-{i:012d}"

    nodes = [{"id": id_(i), "block_name": block, "input_default": {"way": way}} for i, way in enumerate(WAYS, 1)]
    return {"id": id_(0), "name": block, "nodes": nodes, "links": []}


class Asked:
    """Asks a server, and remembers every answer."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.answers: dict[str, bytes] = {}
        self._http = httpx.Client(base_url=f"{server.url}/api", timeout=60)

    def __call__(self, method: str, path: str, **more: Any) -> httpx.Response:
        response = self._http.request(method, path, **more)
        self.answers[f"{len(self.answers)} {method} {path}"] = response.content
        return response

    def close(self) -> None:
        self._http.close()

    def keep(self, title: str, secrets: dict[str, Any]) -> dict[str, Any]:
        body = {"provider": "acme", "title": title, "secrets": secrets}
        return meta(self("POST", "/credentials", json=body).json())

    def execute(self, graph_id: str, credentials: dict[str, Any]) -> str:
        return self("POST", f"/graphs/{graph_id}/execute", json={"credentials": credentials}).json()["id"]

    def command(self, *words: str) -> None:
        command = [sys.executable, "-m", "autogpt_server.cli.main", *words]
        done = subprocess.run(command, env=self.server.env, cwd=ROOT, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        self.answers[f"autogpt {' '.join(words[:2])}"] = done.stdout + done.stderr

    def listen(self, execution_id: str) -> None:
        """Take what a websocket tells about an execution."""
        texts: list[str] = []
        with connect_websocket(f"{self.server.url.replace('http', 'ws')}/ws") as websocket:
            websocket.send(json.dumps({"method": "subscribe", "data": {"execution_id": execution_id}}))
            ended = [f'"status":"{status}"' for status in ("COMPLETED", "FAILED")]
            while not texts or '"type":"graph_execution"' not in texts[-1] or not any(e in texts[-1] for e in ended):
                texts.append(str(websocket.recv(timeout=20)))
        self.answers[f"websocket {execution_id}"] = "".join(texts).encode()


def keep_all(asked: Asked, provider: Provider, host: str) -> list[dict[str, Any]]:
    """Keep credentials of every type."""
    kept = [
        asked.keep("key", {"type": "api_key", "api_key": CANARIES["api_key"]}),
        asked.keep("password", {"type": "user_password", "username": "ann", "password": CANARIES["password"]}),
        asked.keep("header", {"type": "host_scoped", "host": host, "headers": {"X-Key": CANARIES["header"]}}),
    ]
    login = asked.server.client.post("/credentials/oauth/acme/start", {"title": "token"})
    callback = httpx.URL(provider.consent(login["authorization_url"]).address)
    assert callback.path == "/api/credentials/oauth/callback"
    assert asked("GET", "/credentials/oauth/callback", params=dict(callback.params)).status_code == 200
    token = meta(asked("GET", "/credentials").json()["items"][0])
    assert token["type"] == "oauth2"
    return [*kept, token]


def give_away(asked: Asked, kept: list[dict[str, Any]]) -> list[str]:
    """Have blocks in all kinds of processes give them away; returns the executions."""
    executions: list[str] = []
    for number, name in enumerate(CLASSES):
        graph_id = asked.server.store(telling_graph(name, number))["id"]
        # The header is for another host than these blocks name.
        all_types = [one for one in kept if one["type"] != "host_scoped"]
        wanted = all_types if name == "AsyncTellingBlock" else kept[:1]
        executions += [asked.execute(graph_id, credentials) for credentials in wanted]
    for way in ("raise", "print", "logging", "thread"):
        single = {"credentials": kept[0], "way": way}
        told = asked("POST", "/blocks/TellingBlock/execute", json=single)
        assert ("***" if way == "raise" else way) in told.text
    return executions


def send_out(asked: Asked, kept: list[dict[str, Any]], url: str) -> list[str]:
    """Send them to where they belong, which tells them back; by hand and by a schedule."""
    node = {"id": "c4000000-0000-4000-8000-000000000001", "block_name": "SendWebRequestBlock"}
    node["input_default"] = {"url": url, "method": "GET"}  # type: ignore[assignment]
    graph = {"id": "c4000000-0000-4000-8000-000000000000", "name": "web", "links": [], "nodes": [node]}
    graph_id = asked.server.store(graph)["id"]
    executions = [asked.execute(graph_id, credentials) for credentials in kept]
    body = {"cron": "@yearly", "inputs": {}, "credentials": {"credentials": kept[0]}}
    schedule = asked("POST", f"/graphs/{graph_id}/schedules", json=body).json()
    executions.append(asked("POST", f"/schedules/{schedule['id']}/run-now").json()["id"])
    asked("GET", f"/schedules/{schedule['id']}")
    return executions


def misplace(asked: Asked, kept: list[dict[str, Any]]) -> None:
    """Send them in requests that are refused."""
    key = CANARIES["api_key"]
    for body in (
        {"provider": "a", "secrets": key},
        {"provider": "a", "secrets": {"type": key}},
        {"provider": [key]},
        {"provider": "a", "secrets": {"type": "api_key", "api_key": [key]}},
        {"secrets": {"type": "api_key"}},
        {"provider": "a", "secrets": {"type": "user_password", "username": 5, "password": {"x": key}}},
        {"provider": "a", "secrets": {"type": "api_key", "api_key": key + "\n"}},
        {"provider": {"x": key}},
    ):
        assert asked("POST", "/credentials", json=body).status_code == 422
    body = {"secrets": {"type": "api_key", "api_key": key}}
    assert asked("PATCH", f"/credentials/{kept[1]['id']}", json=body).status_code == 422


def look_around(asked: Asked, executions: list[str]) -> None:
    """Read everything that the server tells."""
    for execution_id in executions:
        # Where a block raised, the execution failed.
        assert asked("GET", f"/executions/{execution_id}").json()["status"] in ("COMPLETED", "FAILED")
        asked("GET", f"/executions/{execution_id}/events")
        asked.listen(execution_id)
    for path in (
        "credentials",
        "executions",
        "schedules",
        "graphs",
        "system/tasks",
        "notifications",
        "alerts",
        "files",
    ):
        assert asked("GET", f"/{path}").status_code == 200
    for graph in asked("GET", "/graphs").json()["items"]:
        asked("GET", f"/graphs/{graph['id']}")
    asked.answers["/metrics"] = httpx.get(f"{asked.server.url}/metrics").content


def look_into(search: Search, folder: Path, when: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            search.look(f"{when}: {file.relative_to(folder)}", file.read_bytes())


@pytest.mark.timeout(180)
def test_no_canary_comes_out(start_server: Start, tmp_path: Path, empty_url: str) -> None:
    data, backup = tmp_path / "data", tmp_path / "copy.backup"
    with running_provider() as provider, echo() as (echo_url, heard):
        provider.prefix = "cAnArY-t0ken-"
        settings = {
            "AUTOGPT_BLOCKS": ALL,
            "AUTOGPT_OAUTH_PROVIDERS_FILE": str(provider.write_file(tmp_path)),
            "AUTOGPT_ALLOWED_NETWORKS": "127.0.0.0/8",
        }
        with start_server(data, empty_url, **settings) as server:
            asked = Asked(server)
            kept = keep_all(asked, provider, httpx.URL(echo_url).netloc.decode())
            executions = give_away(asked, kept) + send_out(asked, kept, echo_url)
            for execution_id in executions:
                server.wait(execution_id)
            sent = {value for one in heard for value in one.values()}
            assert {f"Bearer {CANARIES['api_key']}", CANARIES["header"]} <= sent, "they do go where they should"
            misplace(asked, kept)
            look_around(asked, executions)
            asked.command("backup", str(backup))
            for words in (["list", "--json"], ["connect"], ["show", kept[0]["id"]]):
                asked.command("credentials", *words, "--url", server.url)
            search = Search([*CANARIES.values(), *provider.issued])
            asked.close()
            # With the server at work: its write-ahead log is there.
            look_into(search, data, "at work")
    look_into(search, data, "after the end")
    for place, content in asked.answers.items():
        search.look(place, content)
    with zipfile.ZipFile(backup) as archive:
        for name in archive.namelist():
            search.look(f"backup: {name}", archive.read(name))

    database = Database.from_settings(make_settings(data, empty_url))
    with database.read() as c:
        outputs = [str(row[0]) for row in c.execute('SELECT "outputData" FROM "AgentNodeExecution"').all()]
    database.close()
    assert sum("***" in output for output in outputs) > 20, "the blocks did give something away"
    if not empty_url.startswith("file:"):
        dump = subprocess.run([find_binaries() / "pg_dump", empty_url], capture_output=True, check=True, timeout=60)
        assert b"Credential" in dump.stdout
        search.look("pg_dump", dump.stdout)
    log = (data / "server.log").read_text()
    assert "***" in log
    assert "Traceback" in log
    assert search.found == []
    assert len(search.places) > 80
