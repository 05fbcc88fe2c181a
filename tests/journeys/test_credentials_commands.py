"""Credentials on the command line, and a key that is renewed while executions use what is under it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from running_server import ROOT, Server

from tests.secret_blocks import ALL

Start = Callable[..., AbstractContextManager[Server]]

GRAPH = {
    "id": "c5000000-0000-4000-8000-000000000000",
    "name": "needy",
    "nodes": [{"id": "c5000000-0000-4000-8000-000000000001", "block_name": "NeedyBlock", "input_default": {}}],
    "links": [],
}


def run(server: Server, *words: str, stdin: str = "", code: int = 0) -> str:
    """Run a command; returns what it printed, or said where it fails."""
    url = [] if words[1] == "rotate-key" else ["--url", server.url]
    command = [sys.executable, "-m", "autogpt_server.cli.main", *words, *url]
    done = subprocess.run(
        command, env=server.env, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def node_of(server: Server, credentials: dict[str, Any]) -> dict[str, Any]:
    ended = server.wait(server.submit(GRAPH["id"], {"credentials": credentials}))  # type: ignore[arg-type]
    (node,) = ended["node_executions"]["items"]
    return node


def test_credentials_are_kept_used_changed_and_deleted_while_the_key_is_renewed(
    start_server: Start, tmp_path: Path
) -> None:
    with start_server(tmp_path, "file:database.db", AUTOGPT_BLOCKS=ALL) as server:
        server.store(GRAPH)
        id_ = run(server, "credentials", "add", "acme", "--title", "CI", stdin="twelve-chars\n").strip()
        (listed,) = json.loads(run(server, "credentials", "list", "--json"))
        assert (listed["id"], listed["title"], listed["type"]) == (id_, "CI", "api_key")
        assert json.loads(run(server, "credentials", "show", id_)) == listed
        meta = {key: listed[key] for key in ("id", "provider", "type")}
        assert node_of(server, meta)["output_data"] == {"value": [{"id": id_, "length": 12}]}

        # while executions use them, the key is renewed
        stop, statuses, failed = threading.Event(), set[str](), list[BaseException]()

        def go_on() -> None:
            try:
                while not stop.is_set():
                    statuses.add(node_of(server, meta)["status"])
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=go_on)
        thread.start()
        for _ in range(2):
            told = run(server, "credentials", "rotate-key")
            assert told == "1 secrets are under the new key; the old key is gone.\n"
        stop.set()
        thread.join()
        assert failed == []
        assert statuses == {"COMPLETED"}

        # a secret from a file, of the same type
        secret = tmp_path / "secret.txt"
        secret.write_text("five5\n")
        run(server, "credentials", "edit", id_, "--secret-file", str(secret), "--title", "CD")
        assert node_of(server, meta)["output_data"] == {"value": [{"id": id_, "length": 5}]}
        said = run(server, "credentials", "edit", id_, "--username", "ann", "--replace", stdin="x", code=2)
        assert "give secrets of the type api_key" in said

        # a pin that takes others says so
        secrets = {"type": "api_key", "api_key": "secret"}
        other = server.client.post("/credentials", {"provider": "other", "secrets": secrets})
        wrong = {key: other[key] for key in ("id", "provider", "type")}
        refused = run(server, "run", GRAPH["id"], "--input", f"credentials={json.dumps(wrong)}", code=2)  # type: ignore[arg-type]
        assert "this pin takes acme" in refused

        run(server, "credentials", "delete", id_)
        assert "not found" in run(server, "credentials", "show", id_, code=2)
        assert run(server, "credentials", "connect") == ""
        words = ["--username", "a", "--host", "h.test"]
        assert "--host" in run(server, "credentials", "add", "acme", *words, stdin="x", code=2)
