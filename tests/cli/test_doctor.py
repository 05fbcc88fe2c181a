"""``autogpt doctor``, ``autogpt migrate``."""

from __future__ import annotations

import io
import json
import socket
import sys
import threading

import pytest

from autogpt_server.settings import Settings


def checks(result) -> dict[str, dict]:
    return {check["name"]: check for check in json.loads(result.out)}


def test_a_fresh_folder_is_well_and_stays_untouched(autogpt, tmp_path):
    result = autogpt("doctor")

    assert result.code == 0, result.out
    assert "✗" not in result.out
    for name in ("Python", "SQLite", "Node", "Prisma client", "Blocks", "Data folder", "Database", "Server", "Port 1"):
        assert f"✓ {name}" in result.out
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_named_with_the_setting_that_changes_it(autogpt, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("AUTOGPT_EXECUTION_MANAGER_PORT", str(taken.getsockname()[1]))
        result = autogpt("doctor", "--json")

    bad = [check for check in checks(result).values() if not check["ok"]]
    assert result.code == 1
    assert [check["fix"] for check in bad] == ["choose another by EXECUTION_MANAGER_PORT"]


def test_something_else_at_the_servers_port_is_told_from_the_server(autogpt, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("AUTOGPT_PORT", str(other.getsockname()[1]))
        other.listen(1)
        other.settimeout(5)

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        result = autogpt("doctor", "--json")
        thread.join()

    assert result.code == 1
    assert "not this server" in checks(result)["Server"]["detail"]
    assert "AUTOGPT_PORT" in checks(result)["Server"]["fix"]


def test_a_bad_setting_is_named(autogpt, monkeypatch):
    monkeypatch.setenv("AUTOGPT_EXECUTOR_PROCESSES", "many")

    result = autogpt("doctor")

    assert result.code == 1
    assert "AUTOGPT_EXECUTOR_PROCESSES" in result.out
    assert "many" not in result.out


def test_a_database_that_is_away_and_a_folder_that_cannot_be_used_are_named(autogpt, monkeypatch, tmp_path):
    (tmp_path / "plain").write_text("")
    monkeypatch.setenv("AUTOGPT_DATA_DIR", "plain")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")

    found = checks(autogpt("doctor", "--json"))

    assert not found["Data folder"]["ok"]
    assert not found["Database"]["ok"]
    assert "DATABASE_URL" in found["Database"]["fix"]


def test_a_damaged_database_is_named_with_a_way_on(autogpt, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "database.db").write_bytes(b"no database " * 1000)

    result = autogpt("doctor", "--json")

    found = checks(result)["Database"]
    assert (result.code, found["ok"]) == (1, False)
    assert "database.db" in found["detail"]
    assert "\n" not in found["detail"]
    assert "not a database" in found["detail"]
    assert "DATABASE_URL" in found["fix"]


def test_an_error_that_nobody_foresaw_is_a_line_like_any_other(autogpt, monkeypatch):
    def fail(settings: Settings) -> None:
        raise KeyError("first\nsecond")

    monkeypatch.setattr("autogpt_server.cli.checks._database", fail)
    monkeypatch.setattr("autogpt_server.cli.checks._server", fail)

    result = autogpt("doctor", "--json")

    assert result.code == 1
    assert checks(result)["Database"]["detail"].startswith("KeyError")
    assert not checks(result)["Server"]["ok"]


def test_a_prisma_client_that_cannot_be_imported_is_named(autogpt, monkeypatch):
    def fail(name: str) -> None:
        raise SyntaxError(f"unterminated string literal in {name}")

    monkeypatch.setattr("autogpt_server.cli.checks.import_module", fail)

    result = autogpt("doctor", "--json")

    found = checks(result)["Prisma client"]
    assert (result.code, found["ok"]) == (1, False)
    assert found["detail"].startswith("SyntaxError: unterminated string")
    assert found["fix"]


def test_a_folder_that_cannot_be_made_is_named_whoever_asks(autogpt, monkeypatch):
    # Not even root can make one there.
    monkeypatch.setenv("AUTOGPT_DATA_DIR", "/proc/nowhere/data")

    found = checks(autogpt("doctor", "--json"))["Data folder"]

    assert not found["ok"]
    assert "/proc/nowhere/data" in found["detail"]
    assert "AUTOGPT_DATA_DIR" in found["fix"]


def test_the_folders_made_for_the_try_are_taken_away_and_others_kept(autogpt, monkeypatch, tmp_path):
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("AUTOGPT_DATA_DIR", "mine/deep/data")

    assert autogpt("doctor").code == 0

    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("url", ["http://[bad", "http://localhost:99999", "ftp://localhost"])
def test_an_address_that_is_none_is_named(autogpt, url):
    result = autogpt("doctor", "--json", "--url", url)

    assert result.code == 1
    assert url in checks(result)["Server"]["detail"]


def test_a_block_that_cannot_be_imported_is_named(autogpt, monkeypatch):
    monkeypatch.setenv("AUTOGPT_BLOCKS", "no_such_module:Block")

    found = checks(autogpt("doctor", "--json"))

    assert "no_such_module" in found["Blocks"]["detail"]


def test_the_database_is_migrated_up_and_down(autogpt):
    assert "applied" in autogpt("migrate", "up").out
    assert autogpt("migrate", "up").out == "The database is up to date.\n"
    assert "missing" not in autogpt("migrate", "status").out

    assert "took back" in autogpt("migrate", "down", "--yes").out
    assert "missing" in autogpt("migrate", "status").out


def test_going_down_asks_first_and_refuses_beside_a_running_server(autogpt, monkeypatch, tmp_path):
    autogpt("migrate", "up")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert autogpt("migrate", "down").code == 1
    assert "missing" not in autogpt("migrate", "status").out

    run_dir = Settings().run_dir
    run_dir.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(run_dir / "engine-8000.sock"))
        server.listen()
        result = autogpt("migrate", "down", "--yes")
    assert result.code == 2
    assert "stop it first" in result.err
