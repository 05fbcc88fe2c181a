"""What a tree of processes uses, as Linux tells in /proc."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(_after_name(stat)[1]), []).append(int(stat.parent.name))
    return list(_walk(pid, children))


def proportional_bytes(pids: Iterable[int]) -> int:
    """Memory (PSS): what is shared counts in parts, so the sum over all who share it is right."""
    return sum(_kilobytes(pid, "smaps_rollup", "Pss") for pid in pids) * 1024


def resident_bytes(pid: int) -> int:
    return _kilobytes(pid, "status", "VmRSS") * 1024


def peak_bytes(pid: int) -> int:
    """The most that was resident since the start or ``reset_peak``."""
    return _kilobytes(pid, "status", "VmHWM") * 1024


def reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Time on a core, their own and the kernel's for them; processes that have ended are left out."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = _after_name(Path(f"/proc/{pid}/stat"))
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def _walk(pid: int, children: dict[int, list[int]]) -> Iterator[int]:
    yield pid
    for child in children.get(pid, ()):
        yield from _walk(child, children)


def _after_name(stat: Path) -> list[str]:
    # The name may hold spaces and brackets.
    return stat.read_text().rpartition(")")[2].split()


def _kilobytes(pid: int, file: str, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
