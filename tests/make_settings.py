"""The one builder of settings for tests."""

from __future__ import annotations

from pathlib import Path

from autogpt_server.settings import Settings


def make_settings(data_dir: Path, database_url: str, **changes: object) -> Settings:
    """Settings of a small server in its own folder, on free ports, whatever the environment says."""
    ports = {"port": 0, "execution_manager_port": 0, "execution_scheduler_port": 0}
    values: dict[str, object] = ports | {"executor_processes": 1} | changes
    return Settings(data_dir=data_dir, database_url=database_url, _env_file=None, **values)  # type: ignore[call-arg]
