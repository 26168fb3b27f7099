"""Prometheus metrics: plain numbers of the rooms, read when somebody asks."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector


class Family(NamedTuple):
    """One metric; ``read`` gives its values by label values, which must be closed sets."""

    name: str  # without ``entrepot_`` and without ``_total``
    kind: Literal["counter", "gauge"]
    help: str
    labels: Sequence[str]
    read: Callable[[], Mapping[tuple[str, ...], float]]


class _FamilyCollector(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric = make(f"entrepot_{family.name}", family.help, labels=family.labels)
            for labels, value in family.read().items():
                metric.add_metric(labels, value)
            yield metric


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
