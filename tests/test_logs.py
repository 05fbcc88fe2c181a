"""Log records carry the process and the execution they are about, as JSON or for people."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from autogpt_server import logs


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level


def test_a_record_is_one_json_object_with_the_ids_of_its_execution(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("Executor", "info", "json")
    with logs.bound_contextvars(execution_id="e1", node_execution_id="e1.0"):
        logging.getLogger("some.module").info("node %s ended", "n1")
    logging.getLogger("some.module").debug("not written")
    record = json.loads(capfd.readouterr().err)
    assert record["event"] == "node n1 ended"
    assert (record["process"], record["level"], record["logger"]) == ("Executor", "info", "some.module")
    assert (record["execution_id"], record["node_execution_id"]) == ("e1", "e1.0")


def test_a_traceback_stays_inside_its_record(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("Executor", "info", "json")
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logging.getLogger("some.module").exception("failed")
    record = json.loads(capfd.readouterr().err)
    assert "RuntimeError: broken" in record["exception"]


def test_people_get_lines(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("Executor", "info", "human")
    logging.getLogger("some.module").warning("look here")
    line = capfd.readouterr().err
    assert "look here" in line
    assert not line.startswith("{")


def test_without_a_terminal_records_are_json(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("Executor")
    logging.getLogger("some.module").warning("plain")
    assert json.loads(capfd.readouterr().err)["event"] == "plain"


def test_a_traceback_for_people_shows_no_values(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("Executor", "info", "human")
    secret = "hun" + "ter2"
    try:
        raise RuntimeError(len(secret))
    except RuntimeError:
        logging.getLogger("some.module").exception("failed")
    assert "RuntimeError" in (text := capfd.readouterr().err)
    assert "hunter2" not in text


def test_queries_of_the_database_client_are_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("AgentServer", "debug", "json")
    logging.getLogger("prisma._builder").debug("query with values")
    assert capfd.readouterr().err == ""
