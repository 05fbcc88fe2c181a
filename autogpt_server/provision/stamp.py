"""What something was made from, noted beside it, so that it is made again when that changes and only then."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class Stamp:
    """A file with a digest of the sources of one thing; absent while that thing is being made.

    Args:
        path: Where the stamp lies.  It should vanish together with what it vouches for.
        sources: Files, taken by their content, and plain texts.  They are read once, now: a file that changes while
            the thing is being made leaves a stamp that is out of date, as it must.
    """

    def __init__(self, path: Path, *sources: Path | str) -> None:
        self.path = path
        self._digest = _digest(sources)

    @property
    def is_valid(self) -> bool:
        """Whether the thing was made from these very sources, to the end."""
        try:
            return self.path.read_text(encoding="ascii") == self._digest
        except (OSError, UnicodeDecodeError):
            return False

    def drop(self) -> None:
        """Say that the thing has to be made again."""
        self.path.unlink(missing_ok=True)

    def write(self) -> None:
        """Say that the thing is made.  The file appears whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(self.path.name + ".new")
        unfinished.write_text(self._digest, encoding="ascii")
        unfinished.replace(self.path)

    @contextmanager
    def remade(self) -> Generator[None]:
        """Make the thing inside this block: without a stamp from its start, with the new one after a good end."""
        self.drop()
        yield
        self.write()


def _digest(sources: tuple[Path | str, ...]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        content = source.encode() if isinstance(source, str) else source.read_bytes()
        # With its length, so that no two lists of sources run together into the same bytes.
        digest.update(b"%d:" % len(content))
        digest.update(content)
    return digest.hexdigest()
