"""``autogpt doctor``, ``autogpt migrate``."""

from __future__ import annotations

import io
import json
import socket
import sys
import threading

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
    assert "executor_processes" in result.out.lower()


def test_a_database_that_is_away_and_a_folder_that_cannot_be_used_are_named(autogpt, monkeypatch, tmp_path):
    (tmp_path / "plain").write_text("")
    monkeypatch.setenv("AUTOGPT_DATA_DIR", "plain")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")

    found = checks(autogpt("doctor", "--json"))

    assert not found["Data folder"]["ok"]
    assert not found["Database"]["ok"]
    assert "DATABASE_URL" in found["Database"]["fix"]


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
        server.bind(str(run_dir / "engine.sock"))
        server.listen()
        result = autogpt("migrate", "down", "--yes")
    assert result.code == 2
    assert "stop it first" in result.err
