"""LangGraph with its SqliteSaver, the fastest durable peer: installed once into an environment of its own."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.databases import CACHE

_HERE = Path(__file__).parent
_REQUIREMENTS = _HERE / "langgraph-requirements.txt"
_NODES = 10


def rate(folder: Path, executions: int) -> float:
    """Node executions a second of a chain of ten, one checkpoint per node, WAL with ``synchronous=FULL``.

    Raises:
        RuntimeError: It cannot be installed, or fails.
    """
    python = _environment() / "bin" / "python"
    script = [
        str(python),
        str(_HERE / "langgraph_chain.py"),
        str(folder / "langgraph.db"),
        str(executions),
        str(_NODES),
    ]
    done = subprocess.run(script, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"LangGraph failed:\n{done.stderr[-2000:]}")
    return float(done.stdout)


def _environment() -> Path:
    folder, wanted = CACHE / "langgraph", _REQUIREMENTS.read_text()
    stamp = folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    sys.stderr.write("installing LangGraph ...\n")
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", str(_REQUIREMENTS)]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"LangGraph cannot be installed:\n{done.stderr[-2000:]}")
    stamp.write_text(wanted)
    return folder
