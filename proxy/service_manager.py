"""What the service manager is told: systemd's notification protocol (sd_notify(3)).

Each word is one datagram to a socket that the environment names. The libraries for that are not kept any more
(sdnotify), or are built against systemd's own headers (systemd-python).
"""

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

log = logging.getLogger("entrepot")

_STATUS_EVERY = 10.0  # seconds
_LONGEST = 512  # characters of a status
_MOST_OWED = 32  # words


def watchdog_period(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds within which the process ``pid`` must say that it lives (sd_watchdog_enabled(3)); None where nobody waits
    for that."""
    given = environ.get("WATCHDOG_USEC", "")
    ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
    return int(given) / 1e6 if ours and given.isascii() and given.isdigit() and int(given) else None


class ServiceManager:
    """Tells it; nothing where there is none. Never waits and never raises: what is not taken at once is told with the
    next sign of life, which itself is told now or never."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._watchdog = watchdog_period(environ, os.getpid())
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._status = ""
        self._owed: deque[str] = deque(maxlen=_MOST_OWED)
        self._trouble = ""

    @property
    def listens(self) -> bool:
        """Whether there is one."""
        return self._address.startswith(("/", "@"))

    def ready(self, status: str) -> None:
        """Pulls are served."""
        self._tell("READY=1", self._said(status))

    def stopping(self, status: str) -> None:
        """A stop has been asked for."""
        self._tell("STOPPING=1", self._said(status))

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """While the configuration is read again."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            yield
        finally:
            self._tell("READY=1")

    def pulse(self, status: str) -> None:
        """A sign of life, and how things are where that has changed."""
        if status != self._status:
            self._tell(self._said(status))
        if self._watchdog is not None and self._pay():
            self._send("WATCHDOG=1")

    @property
    def pulse_every(self) -> float:
        """Seconds: twice as often as is waited for."""
        return min(_STATUS_EVERY, (self._watchdog or 2 * _STATUS_EVERY) / 2)

    def _said(self, status: str) -> str:
        self._status = status
        return f"STATUS={' '.join(status[:_LONGEST].split())}"

    def _tell(self, *words: str) -> None:
        if self.listens:
            self._owed.append("\n".join(words))
            self._pay()

    def _pay(self) -> bool:
        """Whether nothing is owed any more."""
        while self._owed and self._send(self._owed[0]):
            self._owed.popleft()
        return not self._owed

    def _send(self, message: str) -> bool:
        """False where its queue is full."""
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        trouble = ""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(message.encode(), address)
        except OSError as cause:
            trouble = str(cause)
            if trouble != self._trouble:
                log.warning("systemd does not take what it is told: %s", cause)
        self._trouble = trouble
        return not trouble


def status_words(ready: str, degraded: Callable[[], Mapping[str, str]]) -> str:
    """For people who look at the unit: ``ready``, and what is wrong meanwhile."""
    troubles = sorted(degraded())
    return f"{ready}; degraded: {', '.join(troubles)}" if troubles else ready
