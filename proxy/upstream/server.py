"""The connections to one server, and by what right they are made. Registries that are asked for at the same one share
them: what strangers name opens no connections of its own."""

from proxy.upstream.address import AddressPolicy, Ourselves
from proxy.upstream.connections import ConnectionPool
from proxy.upstream.message import HostClass
from proxy.upstream.passage import STRAIGHT, Outward, Passages
from proxy.upstream.settings import RegistrySettings, trust_of

Pools = dict[HostClass, ConnectionPool]


class Server:
    """Where ``settings`` say; it has their name. No connection is made before the first request. Raises OSError or
    ssl.SSLError where ``ca_file`` of ``settings`` is no good."""

    def __init__(self, settings: RegistrySettings, outward: Outward = STRAIGHT) -> None:
        ourselves = outward.ourselves or Ourselves()
        policy = AddressPolicy(ourselves)
        self.name = settings.name
        self.pseudonym = ourselves.pseudonym
        self.passages = Passages(settings.name, policy, outward.trust or trust_of(settings), outward.ways)
        self.buffered = self._pools(settings)
        self.streaming = self._pools(settings)

    def close(self) -> None:
        """Idle connections, and each that is given back from now on. Idempotent."""
        for pools in (self.buffered, self.streaming):
            for pool in pools.values():
                pool.close_all()

    def _pools(self, settings: RegistrySettings) -> Pools:
        connect, idle = settings.limits.connect, settings.limits.idle
        return {each: ConnectionPool(self.passages.of(each), connect, idle) for each in HostClass}
