"""The short form of ``./scripts/soak``: random kills, and a database that goes away, under load."""

from __future__ import annotations

import random

import pytest

from tests.faults.soak import soak


@pytest.mark.timeout(240)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
@pytest.mark.usefixtures("postgres_server")
def test_no_promise_is_broken(database: str) -> None:
    seed = random.SystemRandom().randrange(2**32)
    assert soak([database], ["kills", "outage"], seconds=3, outage_seconds=3, seed=seed)
