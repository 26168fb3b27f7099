"""By what right, and trusting whom, each class of hosts is connected to: what both clients of an upstream go by."""

import ssl
from typing import NamedTuple

from proxy.core.errors import Hint, UpstreamBroken, UpstreamFault, UpstreamLoops, UpstreamUnreachable
from proxy.upstream.address import AddressForbidden, AddressPolicy, Admit, LeadsHere, Ourselves, admit_unseen
from proxy.upstream.egress import DIRECT, Proxy, WayClosed, WaysOut
from proxy.upstream.message import HostClass, Request
from proxy.upstream.settings import Trust


class Passage(NamedTuple):
    """To the hosts of one class: straight, or through a proxy."""

    admit: Admit
    admit_proxy: Admit
    trust: ssl.SSLContext
    proxied_trust: ssl.SSLContext  # of the host behind the proxy
    proxy_trust: ssl.SSLContext  # of the proxy itself


class Outward(NamedTuple):
    """How the outside is reached: whose certificates are believed (those that the settings say, where it is not given),
    the ways out, and who we are, so that nothing leads back to us."""

    trust: Trust | None = None
    ways: WaysOut = DIRECT
    ourselves: Ourselves | None = None


STRAIGHT = Outward()


class Passages:
    """Of one upstream, ``upstream`` in messages. Where all ways are ``straight``, no request goes by a proxy."""

    def __init__(self, upstream: str, addresses: AddressPolicy, trust: Trust, ways: WaysOut) -> None:
        self.straight = ways.straight
        self._upstream = upstream
        self._ways = ways
        proxy, others = addresses.admit_listed, trust.proxied_others
        self._passages = {
            HostClass.HOME: Passage(addresses.admit_home, proxy, trust.home, trust.proxied_home, others),
            HostClass.LISTED: Passage(addresses.admit_listed, proxy, trust.others, others, others),
            HostClass.AWAY: Passage(addresses.admit_away, proxy, trust.others, others, others),
        }

    def of(self, host_class: HostClass) -> Passage:
        """The one for a class of hosts."""
        return self._passages[host_class]

    async def proxy(self, request: Request) -> Proxy | None:
        """The proxy by which a request goes, None for straight. A host behind one is never looked up here, so what its
        text says is judged. Raises UpstreamUnreachable, UpstreamBroken."""
        origin, passage = request.target.origin, self._passages[request.host_class]
        try:
            proxy = await self._ways.to(origin)
            if proxy is None:
                return None
            admit_unseen(origin.host, origin.port, passage.admit)
        except AddressForbidden as forbidden:
            raise led_astray(self._upstream, request, forbidden) from forbidden
        except WayClosed as cause:
            why = f"no connection to {origin}: {cause}"
            raise UpstreamUnreachable(self._upstream, why, None, Hint.UNCONNECTED) from cause
        return proxy


def led_astray(upstream: str, request: Request, forbidden: AddressForbidden) -> UpstreamFault:
    """What it means that a host is not to be connected to: where the registry led us there, asking again leads nowhere
    else."""
    origin = request.target.origin
    if request.host_class is HostClass.HOME and isinstance(forbidden, LeadsHere):
        return UpstreamLoops(upstream, f"its url leads to this cache itself: {forbidden}")
    if request.host_class is HostClass.HOME:
        return UpstreamUnreachable(upstream, f"no connection to {origin}: {forbidden}", str(origin))
    return UpstreamBroken(upstream, f"it leads to {origin}, which is not followed: {forbidden}")
