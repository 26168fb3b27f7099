"""What an upstream was asked and what it sent, in plain integers for the metrics."""

import threading
from collections import Counter

from proxy.upstream.message import Kind


class Stats:
    """``requests`` counts by kind and outcome: the class of the status (``2xx``) or ``unreachable``, ``timeout``,
    ``broken``. ``bytes_in`` are body bytes. ``rate_limit_remaining`` is what the upstream last said, None if never."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.bytes_in = 0
        self.rate_limit_remaining: int | None = None
        self._lock = threading.Lock()

    def asked(self, kind: Kind, outcome: str) -> None:
        self.requests[kind.value, outcome] += 1

    def received(self, count: int) -> None:
        """From any thread."""
        with self._lock:
            self.bytes_in += count

    def remaining(self, header: str | None) -> None:
        """``ratelimit-remaining: 76;w=21600`` (Docker Hub, "Pull rate limit")."""
        number = header.partition(";")[0].strip() if header else ""
        if number.isascii() and number.isdigit():
            self.rate_limit_remaining = int(number[:12])
