"""What client connections are held to, and those on which no request came."""

import logging
from dataclasses import dataclass, field

from proxy.core.doors import PlaceRules
from proxy.front.requests import HeadLimits

log = logging.getLogger("entrepot.front")

_BAD_REQUESTS_LOGGED = 10  # a second


_PLACES = PlaceRules(4096, 256)


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    places: PlaceRules = _PLACES
    header_timeout: float = 15.0  # seconds until the first request must be there whole, and any that has begun
    idle_timeout: float = 75.0  # between requests; above the 60 s of common load balancers, so that they close first
    head: HeadLimits = field(default_factory=HeadLimits)


class Malformed:
    """Connections on which something came that is no request: ``count`` since the start."""

    def __init__(self) -> None:
        self.count = 0
        self._logged_second = 0
        self._logged = 0

    def came(self, address: str, request: str, now: float) -> None:
        """Counted always, logged at a bounded pace: whoever sends rubbish shall not fill the disk with it."""
        self.count += 1
        if int(now) != self._logged_second:
            self._logged_second, self._logged = int(now), 0
        self._logged += 1
        if self._logged <= _BAD_REQUESTS_LOGGED:
            log.info("malformed request %s from %s: a TLS handshake, or no HTTP at all", request, address)
