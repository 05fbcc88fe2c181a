"""The page about schedules says of each expression what the server says of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autogpt_server.errors import InvalidError
from autogpt_server.scheduler.cron import parse_cron
from autogpt_server.scheduler.cron_words import describe

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text()


def test_its_expressions_come_when_it_says() -> None:
    table = re.search(r"\| expression \| comes \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE)
    assert table is not None
    rows = [row.strip("| ").split(" | ") for row in table[1].splitlines()]
    told = [(text, words) for cell, words in rows for text in re.findall(r"`(.+?)`", cell)]
    assert len(told) > 12
    assert [(text, describe(parse_cron(text))) for text, _ in told] == told


def test_what_it_calls_refused_is_refused() -> None:
    assert "`0 0 30 2 *`" in PAGE
    for text in ("0 0 30 2 *", "@reboot", "0 0 L * *", "0 0 1W * *", "0 0 * * 5#1", "0 0 ? * *", "0 0 0 * * *"):
        with pytest.raises(InvalidError):
            parse_cron(text)
