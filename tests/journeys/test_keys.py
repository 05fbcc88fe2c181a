"""A server that others can reach: its first key, and commands that need one."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
from running_server import ROOT, Server

Start = Callable[..., AbstractContextManager[Server]]


def autogpt(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autogpt_server.cli.main", *arguments]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_first_key_comes_from_the_token_that_was_printed(start_server: Start, tmp_path: Path) -> None:
    with start_server(tmp_path, "file:database.db", AUTOGPT_HOST="0.0.0.0") as server:
        assert server.process.stdout is not None
        line = server.process.stdout.readline().decode()
        found = re.search(r"autogpt key claim (agk_\S+) --url (http://127\.0\.0\.1:\d+)", line)
        assert found is not None, line
        token, url = found[1], found[2]

        # without a key nothing is told
        assert httpx.get(f"{url}/api/graphs").status_code == 401
        env = server.env
        refused = autogpt(env, "graph", "list", "--url", url)
        assert (refused.returncode, "AUTOGPT_API_KEY" in refused.stderr) == (1, True)

        claimed = autogpt(env, "key", "claim", token, "--url", url)
        assert claimed.returncode == 0, claimed.stderr
        key = claimed.stdout.strip()
        again = autogpt(env, "key", "claim", token, "--url", url)
        assert (again.returncode, "one-time token" in again.stderr) == (1, True)
        known = env | {"AUTOGPT_API_KEY": key}
        assert autogpt(known, "graph", "list", "--url", url).returncode == 0
        assert autogpt(known, "task", "list", "--url", url).returncode == 0
        log = (tmp_path / "server.log").read_text()
        assert token not in log and key not in log

    # a command that starts its own server on the same data needs none: who can do that may do all
    ran = autogpt(
        env | {"AUTOGPT_HOST": "127.0.0.1", "AUTOGPT_PORT": "1"}, "run", str(ROOT / "examples" / "hello.json")
    )
    assert ran.returncode == 0, ran.stderr
