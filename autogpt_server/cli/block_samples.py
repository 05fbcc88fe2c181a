"""Runs the samples of one block in a folder of its own that is removed afterwards."""

from __future__ import annotations

import asyncio
import tempfile
import traceback
from pathlib import Path

from autogpt_server.blocks.samples import SampleContext, run_samples
from autogpt_server.model.block import Block


def differences_of(block: Block) -> list[str]:
    """Run a block's samples and describe every difference from what they promise; empty: all is well."""
    with tempfile.TemporaryDirectory(prefix="autogpt-block-") as folder:
        try:
            return asyncio.run(run_samples(block, SampleContext(Path(folder) / "files")))
        except Exception:  # a block under test may raise anything, and where it did is what its author wants to know
            return [traceback.format_exc(limit=-3).strip()]
