"""Prometheus metrics: plain numbers of the rooms, read when somebody asks."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from proxy.core.histogram import Histogram

MetricKind = Literal["counter", "gauge", "histogram"]
Values = Mapping[tuple[str, ...], float | Histogram]
"""By label values, which must be closed sets; histograms of a family of that kind."""


class Family(NamedTuple):
    """One metric; ``read`` gives its values as they are now."""

    name: str  # without ``entrepot_`` and without ``_total``
    kind: MetricKind
    help: str
    labels: Sequence[str]
    read: Callable[[], Values]


class _FamilyCollector(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            name = f"entrepot_{family.name}"
            if family.kind == "histogram":
                yield _histogram(name, family)
                continue
            make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric = make(name, family.help, labels=family.labels)
            for labels, value in family.read().items():
                assert not isinstance(value, Histogram)
                metric.add_metric(labels, value)
            yield metric


def _histogram(name: str, family: Family) -> Metric:
    """No exemplars: they would name requests."""
    metric = HistogramMetricFamily(name, family.help, labels=family.labels)
    for labels, value in family.read().items():
        assert isinstance(value, Histogram)
        metric.add_metric(labels, value.cumulative(), value.total)
    return metric


class Metrics:
    """A registry of its own: nothing is shared between two instances in one process."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, families: Iterable[Family]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_FamilyCollector(families))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def render(self) -> bytes:
        return generate_latest(self._registry)
