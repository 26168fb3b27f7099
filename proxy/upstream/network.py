"""Everything one upstream's requests share: both clients, the address policy, the counters."""

from collections.abc import Iterator
from contextlib import contextmanager

from proxy.core.errors import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from proxy.upstream.address import AddressPolicy
from proxy.upstream.buffered import BufferedClient
from proxy.upstream.message import Answer, Kind, Request
from proxy.upstream.settings import RegistrySettings, Timing, trust_of
from proxy.upstream.stats import Stats
from proxy.upstream.streaming import StreamingAnswer, StreamingClient

_OUTCOMES = {UpstreamUnreachable: "unreachable", UpstreamTimeout: "timeout", UpstreamBroken: "broken"}


class Network:
    """Raises TargetRefused, OSError or ssl.SSLError where the URL or ``ca_file`` of ``settings`` is no good."""

    def __init__(self, settings: RegistrySettings, timing: Timing | None = None) -> None:
        addresses, trust = AddressPolicy(), trust_of(settings)
        self.settings = settings
        self.timing = timing or Timing()
        self.home = settings.home
        self.stats = Stats()
        self._small = BufferedClient(settings, addresses, trust)
        self._bulk = StreamingClient(settings, addresses, trust)

    async def small(self, kind: Kind, request: Request) -> Answer:
        """Raises UpstreamUnreachable, UpstreamTimeout or UpstreamBroken."""
        with self._failures_counted(kind):
            answer = await self._small.send(request)
        self._count(kind, answer)
        return answer

    async def bulk(self, kind: Kind, request: Request) -> StreamingAnswer:
        """Raises UpstreamUnreachable, UpstreamTimeout or UpstreamBroken."""
        with self._failures_counted(kind):
            answer = await self._bulk.send(request)
        self._count(kind, answer)
        return answer

    def _count(self, kind: Kind, answer: Answer) -> None:
        self.stats.asked(kind, f"{answer.status // 100}xx")
        self.stats.remaining(answer.header("ratelimit-remaining"))

    @contextmanager
    def _failures_counted(self, kind: Kind) -> Iterator[None]:
        try:
            yield
        except (UpstreamUnreachable, UpstreamTimeout, UpstreamBroken) as fault:
            self.stats.asked(kind, _OUTCOMES[type(fault)])
            raise

    async def close(self) -> None:
        """Interrupts what is being opened; bodies under way are their movers'. Idempotent."""
        await self._small.close()
        await self._bulk.close()
