"""Every setting under each of its names, what wins over what, and what a bad value says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from autogpt_server.data import migrations
from autogpt_server.data.migration_log import open_log
from autogpt_server.data.migrations import migrate
from autogpt_server.data.urls import DatabaseUrl, parse_database_url
from autogpt_server.settings import Settings

DEFAULTS: dict[str, Any] = {
    "database_url": "file:database.db",
    "direct_url": None,
    "prisma_query_engine_binary": None,
    "host": "127.0.0.1",
    "port": 8000,
    "execution_manager_port": 8002,
    "execution_scheduler_port": 8003,
    "notification_port": 8007,
    "pyro_host": "localhost",
    "pyro_client_comm_timeout": 15,
    "pyro_client_comm_retry": 3,
    "rpc_client_call_timeout": 300,
    "rpc_secret": None,
    "scheduler_db_pool_size": 3,
    "execution_late_notification_threshold_secs": 300,
    "block_error_rate_check_interval_secs": 86_400,
    "cloud_storage_cleanup_interval_hours": 6,
    "max_nodes": 10_000,
    "max_links": 50_000,
    "max_node_executions": 100_000,
}

#: Names that other deployments know, beside AUTOGPT_<NAME>.
ALIASES = {
    "DATABASE_URL": ("database_url", "file:other.db"),
    "DIRECT_URL": ("direct_url", "file:direct.db"),
    "PRISMA_QUERY_ENGINE_BINARY": ("prisma_query_engine_binary", "/opt/engine"),
    "EXECUTION_MANAGER_PORT": ("execution_manager_port", 9002),
    "EXECUTION_SCHEDULER_PORT": ("execution_scheduler_port", 9003),
    "NOTIFICATION_PORT": ("notification_port", 9007),
    "PYRO_HOST": ("pyro_host", "127.0.0.2"),
    "PYRO_CLIENT_COMM_TIMEOUT": ("pyro_client_comm_timeout", 1.5),
    "PYRO_CLIENT_COMM_RETRY": ("pyro_client_comm_retry", 7),
    "RPC_CLIENT_CALL_TIMEOUT": ("rpc_client_call_timeout", 30),
    "SCHEDULER_DB_POOL_SIZE": ("scheduler_db_pool_size", 5),
    "EXECUTION_LATE_NOTIFICATION_THRESHOLD_SECS": ("execution_late_notification_threshold_secs", 60),
    "BLOCK_ERROR_RATE_CHECK_INTERVAL_SECS": ("block_error_rate_check_interval_secs", 600),
    "CLOUD_STORAGE_CLEANUP_INTERVAL_HOURS": ("cloud_storage_cleanup_interval_hours", 12),
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine, and no .env, reaches these tests."""
    for name in list(os.environ):
        if name.startswith("AUTOGPT_") or name in ALIASES or name.endswith("_HOST"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_every_default_is_the_documented_one(tmp_path: Path) -> None:
    settings = Settings()
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert settings.data_dir == tmp_path / "data"
    assert settings.executor_processes == os.cpu_count()


@pytest.mark.parametrize("alias", ALIASES)
def test_a_setting_is_read_under_its_own_name_and_under_the_one_that_others_know(
    monkeypatch: pytest.MonkeyPatch, alias: str
) -> None:
    name, value = ALIASES[alias]
    expected = Path(value) if name == "prisma_query_engine_binary" else value
    monkeypatch.setenv(alias, str(value))
    assert getattr(Settings(), name) == expected
    monkeypatch.delenv(alias)
    monkeypatch.setenv(f"AUTOGPT_{name.upper()}", str(value))
    assert getattr(Settings(), name) == expected


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("AUTOGPT_PORT=9000\nEXECUTION_MANAGER_PORT=9002\nEXECUTION_MANAGER_HOST=file-host\n")
    monkeypatch.setenv("AUTOGPT_PORT", "9100")
    settings = Settings()
    assert (settings.port, settings.execution_manager_port, settings.notification_port) == (9100, 9002, 8007)
    assert settings.service_host("ExecutionManager") == "file-host"


@pytest.mark.parametrize("name", ["EXECUTIONMANAGER_HOST", "EXECUTION_MANAGER_HOST"])
def test_a_service_is_found_under_either_form_of_its_host(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert Settings().service_host("ExecutionManager") == "localhost"
    monkeypatch.setenv(name, "10.1.2.3")
    assert Settings().service_host("ExecutionManager") == "10.1.2.3"
    assert Settings().service_host("Scheduler") == "localhost"


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGPT_BLOCKS", "a.b:C, d.e:F,")
    monkeypatch.setenv("AUTOGPT_ALLOWED_NETWORKS", "127.0.0.0/8")
    settings = Settings()
    assert settings.blocks == ("a.b:C", "d.e:F")
    assert settings.allowed_networks == ("127.0.0.0/8",)


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("AUTOGPT_PORT", "70000", "port"),
        ("EXECUTION_MANAGER_PORT", "none", "EXECUTION_MANAGER_PORT"),
        ("AUTOGPT_MAX_NODES", "0", "max_nodes"),
        ("AUTOGPT_DRAIN_SECONDS", "-1", "drain_seconds"),
        ("CLOUD_STORAGE_CLEANUP_INTERVAL_HOURS", "25", "CLOUD_STORAGE_CLEANUP_INTERVAL_HOURS"),
        ("AUTOGPT_LOG_FORMAT", "xml", "log_format"),
        ("AUTOGPT_ALLOWED_NETWORKS", "127.0.0.0/8,10.0.0.0/99", "allowed_networks"),
    ],
)
def test_a_bad_value_names_its_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=field):
        Settings()


def test_a_secret_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGPT_RPC_SECRET", "hunter2")
    assert "hunter2" not in repr(Settings())


def test_relative_database_files_start_at_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOGPT_DATA_DIR", "elsewhere")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///inner/a.db")
    settings = Settings()
    url = parse_database_url(settings.database_url, settings.data_dir)
    assert url.path == tmp_path / "elsewhere" / "inner" / "a.db"


def test_migrations_take_the_direct_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pooled").symlink_to(".")
    monkeypatch.setenv("DATABASE_URL", "file:pooled/one.db")
    monkeypatch.setenv("DIRECT_URL", "file:one.db")
    taken: list[DatabaseUrl] = []
    monkeypatch.setattr(migrations, "open_log", lambda url: (taken.append(url), open_log(url))[1])
    migrate(Settings())
    assert [url.path for url in taken] == [tmp_path / "data" / "one.db"]
