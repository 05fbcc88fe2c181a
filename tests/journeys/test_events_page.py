"""The page about events: its example runs as it stands, and it names what the server sends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from autogpt_server.server.shapes import Event, OutputEvent
from autogpt_server.server.websocket.connection import MAX_CHANNELS, SEND_SECONDS

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text()


def test_its_example_follows_an_execution_to_its_end(sqlite_server):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    env = os.environ | {"AUTOGPT_URL": sqlite_server.url}

    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)

    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "True"
    assert "node_execution COMPLETED" in lines
    assert lines[-1] == "graph_execution COMPLETED"


def test_it_names_every_type_of_event_and_the_limits():
    types = [*get_args(Event.model_fields["type"].annotation), *get_args(OutputEvent.model_fields["type"].annotation)]
    assert re.findall(r"^\| `(\w+_\w+)` \|", PAGE, re.MULTILINE) == types
    assert f"up to {MAX_CHANNELS} subscriptions" in PAGE
    assert PAGE.count(f"within {SEND_SECONDS} seconds") == 2
