"""What all processes of this machine counted, in Prometheus' text format."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from autogpt_server.telemetry.counts import SUM, Key, ProcessCounts
from autogpt_server.telemetry.measures import COUNTERS, HISTOGRAMS, Counter, Histogram

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def exposition(counts: Sequence[ProcessCounts], gauges: Iterable[Metric]) -> bytes:
    """Sum the counts of processes up, and write them and what was measured only now."""
    totals: dict[str, dict[Key, float]] = defaultdict(lambda: defaultdict(float))
    for one in counts:
        for key, value in one.values.items():
            totals[key[0]][key[1:]] += value
    metrics = [_counter(counter, totals[counter.name]) for counter in COUNTERS]
    metrics += [_histogram(histogram, totals[histogram.name]) for histogram in HISTOGRAMS]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected([*metrics, *gauges, _processes(counts)]))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _counter(counter: Counter, values: dict[Key, float]) -> Metric:
    family = CounterMetricFamily(counter.name, counter.help, labels=counter.labels)
    if not counter.labels:
        values = {(): 0.0, **values}
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _histogram(histogram: Histogram, values: dict[Key, float]) -> Metric:
    family = HistogramMetricFamily(histogram.name, histogram.help, labels=histogram.labels)
    series = {key[:-1] for key in values}
    for labels in sorted(series or ({()} if not histogram.labels else set())):
        total, buckets = 0.0, list[tuple[str, float]]()
        for bound in (*map(str, histogram.bounds), "inf"):
            total += values.get((*labels, bound), 0.0)
            buckets.append((_bound(bound), total))
        family.add_metric(labels, buckets, values.get((*labels, SUM), 0.0))
    return family


def _bound(text: str) -> str:
    return "+Inf" if text == "inf" else str(float(text))


def _processes(counts: Sequence[ProcessCounts]) -> Metric:
    family = GaugeMetricFamily("autogpt_processes", "Processes that live now, by kind.", labels=("process",))
    living: dict[str, int] = defaultdict(int)
    for one in counts:
        living[one.process] += one.pid is not None
    for process, number in sorted(living.items()):
        family.add_metric((process,), number)
    return family
