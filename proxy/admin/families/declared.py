"""A metric as it is declared: what it is called and means stands fast before there is anything to measure."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from proxy.admin.health import Health
from proxy.admin.metrics import Family, MetricKind, Values
from proxy.admin.telemetry import Telemetry


class Observed(NamedTuple):
    """What is read when somebody asks."""

    telemetry: Telemetry
    health: Health


class Declaration(NamedTuple):
    """As ``Family``, of whatever is observed."""

    name: str
    kind: MetricKind
    help: str
    labels: Sequence[str]
    read: Callable[[Observed], Values]

    @property
    def exported(self) -> str:
        """The name that queries use; of a histogram, without ``_bucket``, ``_sum`` and ``_count``."""
        return f"entrepot_{self.name}_total" if self.kind == "counter" else f"entrepot_{self.name}"

    def of(self, observed: Observed) -> Family:
        """The family of one running proxy."""
        return Family(self.name, self.kind, self.help, self.labels, partial(self.read, observed))
