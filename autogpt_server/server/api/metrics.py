"""What Prometheus reads: everything that the processes of this machine counted, and the queue as it is now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from fastapi import APIRouter, Response
from prometheus_client.core import GaugeMetricFamily, Metric

from autogpt_server.data.queue_depth import QueueDepth, read_queue_depth
from autogpt_server.errors import Unavailable
from autogpt_server.server.deps import ServicesDep
from autogpt_server.server.services import Services
from autogpt_server.telemetry.counting import metrics_folder
from autogpt_server.telemetry.counts import read_counts
from autogpt_server.telemetry.exposition import CONTENT_TYPE, exposition

router = APIRouter(tags=["health"])

#: Seconds after which a database that does not answer counts as away.
_PATIENCE = 3.0


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"}},
)
async def get_metrics(services: ServicesDep) -> Response:
    """Read all counts, for Prometheus.  The database being away takes only what is read from it out."""
    try:
        async with asyncio.timeout(_PATIENCE):
            depth = await asyncio.to_thread(read_queue_depth, services.database)
    except (Unavailable, TimeoutError):
        depth = None
    body = await asyncio.to_thread(_exposition, services, depth)
    return Response(body, media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})


def _exposition(services: Services, depth: QueueDepth | None) -> bytes:
    counts = list(read_counts(metrics_folder(services.settings.run_dir)))
    return exposition(counts, _gauges(depth))


def _gauges(depth: QueueDepth | None) -> Iterable[Metric]:
    yield GaugeMetricFamily("autogpt_database_up", "Whether the database answered.", value=depth is not None)
    if depth is None:
        return
    family = GaugeMetricFamily("autogpt_queue_depth", "Executions that have not ended, by status.", labels=("status",))
    for status, number in depth.by_status.items():
        family.add_metric((status,), number)
    yield family
    yield GaugeMetricFamily(
        "autogpt_queue_oldest_seconds", "Age of the oldest execution that is QUEUED.", value=depth.oldest_seconds
    )
