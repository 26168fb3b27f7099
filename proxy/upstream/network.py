"""Everything one upstream's requests share: settings, time, the jobs, the clients, the counters."""

from proxy.tasks.jobs import Jobs
from proxy.upstream.address import AddressPolicy
from proxy.upstream.client import HttpClient
from proxy.upstream.egress import DIRECT, WaysOut
from proxy.upstream.health import Stats
from proxy.upstream.passage import Passages
from proxy.upstream.settings import RegistrySettings, Timing, Trust, trust_of


class Network:
    """Cheap to make: no thread and no look-up of a name comes before the first request.

    ``trust`` is made from the settings where it is not given; without ``ways`` all ways are straight. Raises
    TargetRefused, OSError or ssl.SSLError where the URL or ``ca_file`` of ``settings`` is no good.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        jobs: Jobs,
        timing: Timing | None = None,
        trust: Trust | None = None,
        ways: WaysOut = DIRECT,
    ) -> None:
        passages = Passages(settings.name, AddressPolicy(), trust or trust_of(settings), ways)
        self.settings = settings
        self.jobs = jobs
        self.timing = timing or Timing()
        self.home = settings.home
        self.stats = Stats()
        self.buffered = HttpClient(settings, passages, self.stats)
        self.streaming = HttpClient(settings, passages, self.stats)

    async def close(self) -> None:
        """Interrupts what is being opened; bodies under way are their movers'. Idempotent."""
        await self.buffered.close()
        await self.streaming.close()
