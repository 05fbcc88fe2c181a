"""Fail when a file names a package index, or a place on the machine it was written on.

Where packages come from is for pip's and npm's configuration to say, on every machine anew.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Words in the hosts of package indexes, and a path that they have.
_HOSTS, _PATH = "|".join(("pypi", "pythonhosted", "npmjs", "registry")), "simple"
INDEX = re.compile(rf"https?://(?:[\w.:@-]*(?:{_HOSTS})[\w.:-]*|[^\s\"'<>]*/{_PATH}\b)", re.IGNORECASE)
#: Files made by tools that would note where they took a package from.
LOCKS = {
    "package-lock.json": re.compile(r"\"resolved\"|git\+"),
    "poetry.lock": re.compile(r"://|\[package\.source\]"),
    "requirements/main.txt": re.compile(r"://|^-", re.MULTILINE),
    "requirements/dev.txt": re.compile(r"://|^-", re.MULTILINE),
    "requirements/lock.txt": re.compile(r"://|^-", re.MULTILINE),
}


def main() -> int:
    found = [problem for name in list_files() for problem in find_addresses(name, ROOT / name)]
    print(*found, sep="\n")
    return 1 if found else 0


def list_files() -> list[str]:
    """All files that are in the repository or would be added to it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return sorted(set(output.rstrip("\0").split("\0")))


def find_addresses(name: str, path: Path) -> Iterator[str]:
    """Give a line for each address in a file; binary and missing files have none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError):
        return
    patterns = [INDEX, *here(), *([LOCKS[name]] if name in LOCKS else [])]
    for pattern in patterns:
        for match in pattern.finditer(text):
            yield f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"


def here() -> Iterator[re.Pattern[str]]:
    """Patterns of this checkout's folder and of the user's own."""
    # A checkout right below the root, as in a container, has a name that may mean anything.
    folders = {Path.home(), *([ROOT] if len(ROOT.parts) > 2 else [])} - {Path("/")}
    for folder in folders:
        yield re.compile(rf"(?<![\w.-]){re.escape(str(folder))}(?=[/\s\"'`),;:]|$)")


if __name__ == "__main__":
    sys.exit(main())
