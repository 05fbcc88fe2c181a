"""The migrations that this release carries: folders of SQL in Prisma Migrate's layout, one set per database."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "migrations"


@dataclass(frozen=True)
class Migration:
    """One step of the schema.  Steps are applied in the order of their names, which begin with their time."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def checksum(self) -> str:
        """Prisma's: SHA-256 of migration.sql."""
        return hashlib.sha256((self.folder / "migration.sql").read_bytes()).hexdigest()

    @property
    def up(self) -> str:
        return (self.folder / "migration.sql").read_text()

    @property
    def down(self) -> str:
        return (self.folder / "down.sql").read_text()


def list_migrations(provider: str, folder: Path = FOLDER) -> list[Migration]:
    """List the migrations for a database ("sqlite" or "postgresql"), oldest first."""
    return [Migration(found.parent) for found in sorted((folder / provider).glob("*/migration.sql"))]
