"""What a work is given: a server on a database with many rows, and how much to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from autogpt_server.data.database import Database
from autogpt_server.settings import Settings
from benchmarks.server import Server


@dataclass
class Bench:
    """One work's surroundings.

    Args:
        server: Started for this work alone.
        folder: Its data folder.
        url: Of its database.
        database: The server's, for looking into it.
        rows: Node executions that it held before the run.
        quick: Do as little as shows that everything works.
        baselines: Node executions per second of others in the same run, by name.
    """

    server: Server
    folder: Path
    url: str
    database: Database
    rows: int
    quick: bool
    baselines: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def run_folder(self) -> Path:
        """Where the server's sockets are."""
        return Settings(data_dir=self.folder).run_dir

    def amount(self, full: int, quick: int) -> int:
        """How much of something to do."""
        return quick if self.quick else full
