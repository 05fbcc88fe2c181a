"""What blocks and graphs say is shown, and never obeyed by the terminal."""

from __future__ import annotations

import pytest

from autogpt_server.cli.follow import print_outcome
from autogpt_server.cli.screen import print_table

EVIL = "red \x1b[31m\x07 \x9b2J [bold]end"
SEEN = "red ␛[31m␇ \ufffd2J [bold]end"


def test_control_characters_of_values_and_errors_are_shown_as_signs(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["Text"], [[EVIL]], empty="")
    print_outcome({"id": "x", "status": "FAILED", "error": EVIL, "outputs": {"pin": [EVIL]}})

    captured = capsys.readouterr()
    assert captured.out.count(SEEN) == 2
    assert captured.err.count(SEEN) == 1
    assert not set(captured.out + captured.err) & {"\x1b", "\x07", "\x9b"}
