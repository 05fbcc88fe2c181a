"""The functions that job rows name.  Their paths never change: rows out there name them."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)


def execute_graph(**kwargs: Any) -> None:
    """Do nothing: schedules of graphs are fired by timers.py, whoever else finds a job of theirs due."""
    log.warning("a job of schedule %s was run by somebody else", kwargs.get("graph_id"))
