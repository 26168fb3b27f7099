"""The metrics, read from the rooms' own numbers when somebody asks."""

from collections.abc import Sequence

from proxy.admin.families.declared import Declaration, Observed
from proxy.admin.families.holdings import HOLDINGS
from proxy.admin.families.process import PROCESS
from proxy.admin.families.pulls import PULLS
from proxy.admin.families.upstreams import UPSTREAMS
from proxy.admin.health import Health
from proxy.admin.metrics import Family
from proxy.admin.telemetry import Telemetry

DECLARED: Sequence[Declaration] = (*PULLS, *UPSTREAMS, *HOLDINGS, *PROCESS)
"""All of the proxy's own; labels are closed sets."""


def families_of(telemetry: Telemetry, health: Health) -> Sequence[Family]:
    """Those of one running proxy."""
    observed = Observed(telemetry, health)
    return [declaration.of(observed) for declaration in DECLARED]
