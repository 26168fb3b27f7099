"""Everything one upstream's requests share: settings, time, the jobs, the clients, the counters."""

from proxy.core.tables import Tables
from proxy.tasks.jobs import Jobs
from proxy.upstream.ask_threads import AskThreads
from proxy.upstream.client import HttpClient
from proxy.upstream.health import Stats
from proxy.upstream.lookups import Find
from proxy.upstream.passage import STRAIGHT, Outward
from proxy.upstream.server import Server
from proxy.upstream.settings import RegistrySettings, Timing


class Network:
    """Cheap to make: no thread and no look-up of a name comes before the first request.

    ``outward`` leads to a server of its own, or is one that upstreams share. ``tables`` and ``threads`` are shared by
    all; ``find`` is asked before each question, where the host may not be there at all. Raises TargetRefused, OSError
    or ssl.SSLError where the URL or ``ca_file`` of ``settings`` is no good.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        jobs: Jobs,
        timing: Timing | None = None,
        outward: Outward | Server = STRAIGHT,
        tables: Tables | None = None,
        find: Find | None = None,
        threads: AskThreads | None = None,
    ) -> None:
        self._own = None if isinstance(outward, Server) else Server(settings, outward)
        server = outward if isinstance(outward, Server) else self._own
        assert server is not None
        self.settings = settings
        self.jobs = jobs
        self.timing = timing or Timing()
        self.tables = tables or Tables(self.timing.now)
        self.home = settings.home
        self.find = find
        self.stats = Stats()
        self.users = 0  # who ask it something now
        self.retired = False
        threads = threads or AskThreads()
        self.buffered = HttpClient(settings, server, server.buffered, self.stats, threads)
        self.streaming = HttpClient(settings, server, server.streaming, self.stats, threads)

    def retire(self) -> None:
        """It is closed as soon as nobody uses it."""
        self.retired = True
        if not self.users:
            self.jobs.once("registry close", self.close)

    async def close(self) -> None:
        """Interrupts what is being opened; bodies under way are their movers'. Idempotent."""
        await self.buffered.close()
        await self.streaming.close()
        if self._own is not None:
            self._own.close()
