"""The places that client connections take, and what is counted of them."""

import logging
from collections import Counter
from dataclasses import dataclass, field

from proxy.front.requests import HeadLimits

log = logging.getLogger("entrepot.front")

_BAD_REQUESTS_LOGGED = 10  # a second


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    connections: int = 4096
    per_address: int = 256
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
        self._by_address: Counter[str] = Counter()
        self._logged_second = 0
        self._logged = 0

    def enter(self, address: str) -> bool:
        """False where there are too many, in all or from this address."""
        if self.open >= self.rules.connections or self._by_address[address] >= self.rules.per_address:
            self.refused += 1
            return False
        self.open += 1
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """The place of one that entered is free again."""
        self.open -= 1
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]

    def malformed_from(self, address: str, now: float) -> None:
        """Counted always, logged at a bounded pace: whoever sends rubbish shall not fill the disk with it."""
        self.malformed += 1
        if int(now) != self._logged_second:
            self._logged_second, self._logged = int(now), 0
        self._logged += 1
        if self._logged <= _BAD_REQUESTS_LOGGED:
            log.info("malformed request from %s: a TLS handshake, or no HTTP at all", address)
