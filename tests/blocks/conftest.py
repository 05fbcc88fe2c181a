"""A small world for blocks under test."""

from pathlib import Path

import pytest

from autogpt_server.blocks.samples import SampleContext


@pytest.fixture
def context(tmp_path: Path) -> SampleContext:
    return SampleContext(tmp_path / "files")
