"""What is kept in memory for the next time: the latest used values, so many of them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def keep(kept: OrderedDict[K, V], key: K, value: V, limit: int) -> None:
    """Remember a value as the latest used one, and forget the one that was not used for longest."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > limit:
        kept.popitem(last=False)
