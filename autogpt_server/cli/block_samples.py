"""Runs the samples of one block in a process and a folder of its own: whatever it does, both are gone afterwards."""

from __future__ import annotations

import asyncio
import tempfile
import traceback
from pathlib import Path

from autogpt_server.blocks.registry import load_registry
from autogpt_server.blocks.samples import SampleContext, run_samples
from autogpt_server.executor.leftovers import kill_tree
from autogpt_server.model.block import Block
from autogpt_server.service.child import ProcessEnded, describe_exit
from autogpt_server.service.process import AppProcess
from autogpt_server.settings import Settings

#: What the fork server imports once for all blocks.
PRELOAD = (__name__,)
#: Seconds that all samples of a block get together, its process included.
LIMIT_SECONDS = 60.0
#: Seconds for the process to end once it has told.
_STOP_SECONDS = 1.0


class SampleRun(AppProcess):
    """The process of one block.  It is ready when the samples have ended, and tells what differs."""

    ready_when_running = False
    stop_seconds = _STOP_SECONDS

    def __init__(self, settings: Settings, block_name: str, folder: str) -> None:
        super().__init__(settings)
        self._block_name, self._folder = block_name, folder

    @property
    def name(self) -> str:
        return f"samples of {self._block_name}"

    def run(self) -> None:
        block = load_registry(self.settings.blocks).get(self._block_name)
        try:
            differences = asyncio.run(run_samples(block, SampleContext(Path(self._folder) / "files")))
        except Exception:  # a block under test may raise anything, and where it did is what its author wants to know
            differences = [traceback.format_exc(limit=-3).strip()]
        self.ready(differences=differences)


def differences_of(block: Block, settings: Settings) -> list[str]:
    """Run a block's samples and describe every difference from what they promise; empty: all is well."""
    # What a block left behind may still write there.
    with tempfile.TemporaryDirectory(prefix="autogpt-block-", ignore_cleanup_errors=True) as folder:
        run = SampleRun(settings, block.name, folder)
        run.start(background=True)
        try:
            told = run.wait_ready(LIMIT_SECONDS)
            run.child.wait_gone(_STOP_SECONDS)
            return told["differences"]
        except ProcessEnded as error:
            return [f"the block ended its process ({describe_exit(error.exit_code)})"]
        except TimeoutError:
            return [f"the block did not end within {LIMIT_SECONDS:g} s and was killed"]
        finally:
            if run.child.is_alive:
                # It first, then it is awaited: what its block started would outlive it.
                kill_tree(run.child.pid)
            run.child.kill()
