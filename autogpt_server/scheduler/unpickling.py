"""Reads the pickles of job rows without trusting them."""

from __future__ import annotations

from typing import Any


def load_job_state(data: bytes) -> dict[str, Any]:
    """Refuse the pickle of a job row: none is trusted yet."""
    raise ValueError(f"a pickle of {len(data)} bytes that another deployment wrote is not read")
