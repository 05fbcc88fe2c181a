"""The page about controlling executions names what there is."""

from __future__ import annotations

import re
from pathlib import Path

from autogpt_server.model.execution import ExecutionStatus
from autogpt_server.model.policy import GraphPolicy
from autogpt_server.model.turns import MAX_PRIORITY, MIN_PRIORITY
from autogpt_server.server.rest import create_app
from autogpt_server.settings import Settings
from tests.make_settings import make_settings

PAGE = (Path(__file__).parents[2] / "docs" / "executions.md").read_text()


def test_its_requests_statuses_and_limits_exist(tmp_path: Path) -> None:
    paths = set(create_app(make_settings(tmp_path, "file:database.db")).openapi()["paths"])
    for path in re.findall(r"`POST (/api/\S+?)`", PAGE):
        assert any(re.sub(r"\{\w+\}", "{id}", known) == path for known in paths), path
    told = set(re.findall(r"\b[A-Z]{6,}\b", PAGE))
    assert told - {"FAILS"} <= {status.value for status in ExecutionStatus} | {"AUTOGPT"}
    assert f"({MIN_PRIORITY} to {MAX_PRIORITY}, 0 by default)" in PAGE
    for name in re.findall(r"`policy\.(\w+)`", PAGE):
        assert name in GraphPolicy.model_fields
    for name in re.findall(r"`AUTOGPT_(\w+)`", PAGE):
        assert name.lower() in Settings.model_fields
