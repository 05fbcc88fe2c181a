"""What blocks print and log is kept with their node, in bounds, and nowhere else."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import tracemalloc
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogpt_server.executor.block_logs import BlockLog, kept_block_output, route_output_to
from autogpt_server.model.jsonvalue import loads

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\n\0\x1b\ud800é"), max_size=300)
writes = st.lists(st.tuples(st.sampled_from(["stdout", "stderr", "add"]), texts), max_size=60)


class Owner:
    def __init__(self, max_bytes: int = 10_000) -> None:
        self.block_log = BlockLog(max_bytes)

    def lines(self) -> list[tuple[str, str]]:
        return [(entry["level"], entry["text"]) for entry in loads(self.block_log.json())]


def fill(log: BlockLog, pieces: list[tuple[str, str]]) -> None:
    for level, text in pieces:
        if level == "add":
            log.add("info", text)
        else:
            log.write(level, text)


@given(writes, st.integers(400, 4_000))
def test_a_log_is_json_within_its_bytes_and_counts_what_it_leaves_out(
    pieces: list[tuple[str, str]], max_bytes: int
) -> None:
    log = BlockLog(max_bytes)
    fill(log, pieces)
    text = log.json()
    assert len(text.encode()) <= max_bytes
    assert log.json() == text or log.is_full
    kept = "".join(entry["text"] for entry in loads(text))
    written = sum(len(piece) for _, piece in pieces)
    breaks = sum(piece.count("\n") for level, piece in pieces if level != "add")
    if "left out" not in kept:
        assert len(kept) == written - breaks


@given(writes, writes)
def test_another_attempt_goes_on_after_what_is_kept(
    first: list[tuple[str, str]], second: list[tuple[str, str]]
) -> None:
    log = BlockLog(3_000)
    fill(log, first)
    kept = log.json()
    resumed = BlockLog(3_000, kept)
    fill(resumed, second)
    whole = resumed.json()
    assert loads(whole)[: len(loads(kept))] == loads(kept)
    assert len(whole.encode()) <= 3_000 + 160


def test_lines_become_entries_once_their_end_is_there() -> None:
    owner = Owner()
    for piece in ("one\ntw", "o", "\n", "\n", "thr"):
        owner.block_log.write("stdout", piece)
    owner.block_log.write("stderr", "beside\n")
    assert owner.lines() == [("stdout", t) for t in ("one", "two", "")] + [("stderr", "beside"), ("stdout", "thr")]


def test_a_gigabyte_costs_no_memory_and_is_told_at_the_end() -> None:
    log = BlockLog(1_000)
    megabyte = "x" * 1_048_575 + "\n"
    tracemalloc.start()
    for _ in range(1_024):
        log.write("stdout", megabyte)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000
    *_, last = loads(log.json())
    assert last["level"] == "warning"
    assert last["text"].startswith("1,073,7") and "more characters were left out; the limit is 1,000" in last["text"]


def test_a_line_without_an_end_is_kept_in_parts() -> None:
    log = BlockLog(100_000)
    for _ in range(20_000):
        log.write("stdout", "x")
    entries = loads(log.json())
    assert [len(entry["text"]) for entry in entries] == [8_000, 8_000, 4_000]


class TestRouting:
    @pytest.fixture
    def kept(self) -> AbstractContextManager[None]:
        # Entered by the tests themselves: pytest replaces the streams between a fixture and its test.
        return kept_block_output()

    async def run_as(self, owner: Owner, body: Any) -> None:
        async def node() -> None:
            route_output_to(owner)
            result = body()
            if asyncio.iscoroutine(result):
                await result

        await asyncio.create_task(node())

    async def test_what_is_printed_and_logged_is_the_nodes(
        self, kept: AbstractContextManager[None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        def body() -> None:
            print("hello")
            print("trouble", file=sys.stderr)
            sys.stdout.buffer.write(b"bytes \xff\n")
            sys.stdout.writelines(["a\n", "b\n"])
            sys.stdout.flush()
            sys.stdout.close()
            logging.getLogger("some.module").warning("careful, %s", "now")
            logging.getLogger("autogpt_server.blocks.files").error("ours")
            logging.getLogger("autogpt_server.executor.worker").error("not a block's")

        owner = Owner()
        with kept:
            await self.run_as(owner, body)
            print("outside")
        assert owner.lines() == [
            ("stdout", "hello"),
            ("stderr", "trouble"),
            ("stdout", "bytes \ufffd"),
            ("stdout", "a"),
            ("stdout", "b"),
            ("warning", "careful, now"),
            ("error", "ours"),
        ]
        assert capsys.readouterr().out == "outside\n"

    async def test_an_exception_that_is_logged_brings_its_traceback(self, kept: AbstractContextManager[None]) -> None:
        def body() -> None:
            try:
                raise RuntimeError("deep")
            except RuntimeError:
                logging.getLogger("x").exception("failed")

        owner = Owner()
        with kept:
            await self.run_as(owner, body)
        ((level, text),) = owner.lines()
        assert level == "error"
        assert text.startswith("failed\nTraceback") and text.endswith("RuntimeError: deep")

    async def test_a_record_that_cannot_be_written_is_kept_as_its_message(
        self, kept: AbstractContextManager[None]
    ) -> None:
        record = logging.makeLogRecord({"name": "x", "msg": "%d items", "args": ("no number",), "levelname": "INFO"})
        owner = Owner()
        with kept:
            handler = logging.getLogger().handlers[-1]
            await self.run_as(owner, lambda: handler.handle(record))
        assert owner.lines() == [("info", "%d items")]

    async def test_nodes_at_the_same_time_keep_apart_also_in_their_threads(
        self, kept: AbstractContextManager[None]
    ) -> None:
        owners = [Owner() for _ in range(4)]
        together = threading.Barrier(4)

        async def body(name: int) -> None:
            def in_thread() -> None:
                together.wait(10)
                print("thread of", name)

            print("before", name)
            await asyncio.sleep(0)
            await asyncio.to_thread(in_thread)
            print("after", name)

        with kept:
            await asyncio.gather(*(self.run_as(owner, lambda n=n: body(n)) for n, owner in enumerate(owners)))
        for number, owner in enumerate(owners):
            assert [t for _, t in owner.lines()] == [f"before {number}", f"thread of {number}", f"after {number}"]

    async def test_a_full_log_keeps_the_servers_own_log_from_being_flooded(
        self, kept: AbstractContextManager[None], caplog: pytest.LogCaptureFixture
    ) -> None:
        def body() -> None:
            for _ in range(1_000):
                logging.getLogger("talkative").warning("x" * 100)

        with kept:
            await self.run_as(Owner(1_000), body)
            assert 0 < len(caplog.records) < 20
            logging.getLogger("talkative").warning("outside")
        assert caplog.records[-1].getMessage() == "outside"

    def test_a_context_that_is_copied_carries_the_owner_along(self, kept: AbstractContextManager[None]) -> None:
        owner = Owner()

        def body() -> None:
            route_output_to(owner)
            thread = threading.Thread(target=copy_context().run, args=(lambda: print("from a thread"),))
            thread.start()
            thread.join(10)

        with kept:
            copy_context().run(body)
        assert owner.lines() == [("stdout", "from a thread")]


def test_afterwards_everything_is_as_it_was() -> None:
    before = sys.stdout, sys.stderr, list(logging.getLogger().handlers)
    with kept_block_output():
        assert sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr, list(logging.getLogger().handlers)) == before
