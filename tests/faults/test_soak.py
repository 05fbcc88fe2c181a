"""The short form of ``./scripts/soak``: random kills, and a database that goes away, under load."""

from __future__ import annotations

import random

import pytest

from tests.faults.soak import soak


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("database", "scenario"), [("sqlite", "kills"), ("postgresql", "kills"), ("postgresql", "outage")]
)
@pytest.mark.usefixtures("postgres_server")
def test_no_promise_is_broken(database: str, scenario: str) -> None:
    seed = random.SystemRandom().randrange(2**32)
    assert soak([database], [scenario], seconds=3, outage_seconds=3, seed=seed)
