"""The places that client connections take, and what is counted of them."""

import logging
from collections import Counter
from dataclasses import dataclass, field

from proxy.core.places import PlaceRules, network_of
from proxy.front.request_head import HeadLimits

log = logging.getLogger("entrepot.front")

_BAD_REQUESTS_LOGGED = 10  # a second


_PLACES = PlaceRules(4096, 256)


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    places: PlaceRules = _PLACES
    header_timeout: float = 15.0  # seconds until the first request must be there whole, and any that has begun
    idle_timeout: float = 75.0  # between requests; above the 60 s of common load balancers, so that they close first
    head: HeadLimits = field(default_factory=HeadLimits)


class ClientConnections:
    """``open`` is how many there are; the others count since the start."""

    def __init__(self, rules: ConnectionRules) -> None:
        self.rules = rules
        self.open = 0
        self.refused = 0
        self.malformed = 0
        self._by_network: Counter[str] = Counter()
        self._logged_second = 0
        self._logged = 0

    def enter(self, address: str) -> bool:
        """False where there are too many, in all or from this address and its like."""
        network = network_of(address)
        if self._by_network[network] >= self.rules.places.share(self.open):
            self.refused += 1
            return False
        self.open += 1
        self._by_network[network] += 1
        return True

    def leave(self, address: str) -> None:
        """The place of one that entered is free again."""
        network = network_of(address)
        self.open -= 1
        self._by_network[network] -= 1
        if self._by_network[network] <= 0:
            del self._by_network[network]

    def malformed_from(self, address: str, request: str, now: float) -> None:
        """Counted always, logged at a bounded pace: whoever sends rubbish shall not fill the disk with it."""
        self.malformed += 1
        if int(now) != self._logged_second:
            self._logged_second, self._logged = int(now), 0
        self._logged += 1
        if self._logged <= _BAD_REQUESTS_LOGGED:
            log.info("malformed request %s from %s: a TLS handshake, or no HTTP at all", request, address)
