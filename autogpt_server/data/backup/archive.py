"""The file of a backup: a ZIP file with one JSON text per row, and a manifest that proves that nothing is missing."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autogpt_server.errors import InvalidError, Problem

_FORMAT = 1
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Part:
    """One table in the file."""

    columns: list[str]
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds.

    Args:
        created_at: ISO 8601, when the rows were as they are in it.
        provider: Of the database that they come from; they fit into the other kind, too.
        migrations: That the database had.
        tables: By name.
    """

    created_at: str
    provider: str
    migrations: list[str]
    tables: dict[str, Part] = field(default_factory=dict[str, Part])
    format: int = _FORMAT


@contextmanager
def writing(path: Path) -> Generator[Writer]:
    """Write a file that is there after the block whole and verified, readable by its owner alone, or not at all.

    Raises:
        InvalidError: What was written cannot be read again.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                yield Writer(archive)
            file.flush()
            os.fsync(file.fileno())
        # Read again before it takes the place of the one before.
        with Archive(draft) as archive:
            archive.verify()
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


class Writer:
    """Writes the parts of a backup."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def table(self, name: str, columns: list[str], rows: Iterable[list[Any]]) -> Part:
        """Write a table."""
        digest, count = hashlib.sha256(), 0
        with self._archive.open(f"tables/{name}.jsonl", "w", force_zip64=True) as file:
            for row in rows:
                line = json.dumps(row, separators=(",", ":"), ensure_ascii=True).encode("ascii") + b"\n"
                digest.update(line)
                file.write(line)
                count += 1
        return Part(columns, count, digest.hexdigest())

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, last of all: a file without one is no backup."""
        self._archive.writestr(_MANIFEST, json.dumps(asdict(manifest), indent=1))


class Archive:
    """A backup that is read.  Close it, or use it as a context manager."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            found = json.loads(self._zip.read(_MANIFEST))
            parts = {name: Part(**part) for name, part in found.pop("tables").items()}
            self.manifest = Manifest(tables=parts, **found)
        except FileNotFoundError:
            raise _refused(path, "is not there") from None
        except (OSError, zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError, AttributeError) as error:
            raise _refused(path, f"is no backup of this server, or is damaged ({type(error).__name__})") from None
        if self.manifest.format != _FORMAT:
            raise _refused(path, f"has format {self.manifest.format}, this release reads {_FORMAT}")
        self._path = path

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def rows(self, table: str) -> Iterator[list[Any]]:
        """Read the rows of a table.

        Raises:
            InvalidError: The file is damaged, as far as it was read.
        """
        part = self.manifest.tables[table]
        digest, count = hashlib.sha256(), 0
        try:
            with self._zip.open(f"tables/{table}.jsonl") as file:
                for line in file:
                    digest.update(line)
                    count += 1
                    yield json.loads(line)
        except (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError) as error:
            raise _refused(self._path, f"is damaged in {table} ({type(error).__name__})") from None
        if (count, digest.hexdigest()) != (part.rows, part.sha256):
            raise _refused(self._path, f"is damaged in {table}: {count:,} rows of {part.rows:,}, or others")

    def verify(self) -> None:
        """Read all of it.

        Raises:
            InvalidError: Something is missing, or is not what was written.
        """
        for table in self.manifest.tables:
            for _ in self.rows(table):
                pass


def _refused(path: Path, reason: str) -> InvalidError:
    return InvalidError("The backup was refused.", [Problem(str(path), reason, "use another copy of it")])
