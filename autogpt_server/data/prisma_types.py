"""Keeps Prisma's types for annotations from being made where nobody asks for one.

The generated client has twenty thousand lines of them, which every start of a server would read.  At run time
nothing needs them: annotations are text.  Whoever does ask for one gets the real module.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_NAME = "prisma.types"
#: Imported by the client by name, and used in annotations alone.
_BY_NAME = frozenset({"DatasourceOverride", "HttpConfig", "MetricsFormat"})


class _Postponed(ModuleType):
    """Stands for the module until something of it is wanted."""

    def __getattr__(self, name: str) -> Any:
        if name in _BY_NAME:
            return Any
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_load(), name)


def postpone() -> None:
    """Do so from now on; harmless when repeated, and too late where the client was imported before."""
    if _NAME not in sys.modules:
        sys.modules[_NAME] = _Postponed(_NAME)


def _load() -> ModuleType:
    """Make the real module take the place."""
    found = sys.modules[_NAME]
    if not isinstance(found, _Postponed):
        return found
    del sys.modules[_NAME]
    try:
        return importlib.import_module(_NAME)
    except BaseException:
        sys.modules[_NAME] = found
        raise
