"""The client for everything that fits in memory: manifests, tags, referrers, tokens. aiohttp moves them.

One session for each host class, since the address policy is decided where the final address is known: in the
connector's socket factory, which sees literal addresses and resolved names alike.
"""

import socket
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
from yarl import URL

from proxy.core.errors import UpstreamBroken, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from proxy.upstream.address import AddressPolicy
from proxy.upstream.health import Stats
from proxy.upstream.message import USER_AGENT, HostClass, Request
from proxy.upstream.settings import KIB, RegistrySettings, Trust
from proxy.upstream.target import Target

CONNECTIONS = 256
CONNECTIONS_PER_HOST = 32
LONGEST_FIELD = 32 * KIB  # bytes of one header: a signed URL in a Location may have 9,000
MOST_HEADERS = 128


class BufferedClient:
    """The sessions of one upstream; they come into being with the first request, in the loop that makes it."""

    def __init__(self, settings: RegistrySettings, addresses: AddressPolicy, trust: Trust, stats: Stats) -> None:
        self._settings = settings
        self._stats = stats
        self._ways: dict[HostClass, tuple[Callable[[str], None], ssl.SSLContext]] = {
            HostClass.HOME: (addresses.admit_home, trust.home),
            HostClass.LISTED: (addresses.admit_listed, trust.others),
            HostClass.AWAY: (addresses.admit_away, trust.others),
        }
        self._closed = False
        self._sessions: dict[HostClass, aiohttp.ClientSession] = {}

    async def send(self, request: Request) -> "BufferedAnswer":
        """Raises UpstreamUnreachable, UpstreamTimeout or UpstreamBroken."""
        name, limits = self._settings.name, self._settings.limits
        if self._closed:
            raise UpstreamUnreachable(name, "its client is closing")
        timeout = aiohttp.ClientTimeout(
            total=request.total, sock_connect=limits.connect, sock_read=min(limits.first_byte, limits.stall)
        )
        try:
            response = await self._session(request.host_class).request(
                request.method,
                URL(request.target.url, encoded=True),
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **request.headers},
                allow_redirects=False,
                timeout=timeout,
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as fault:
            blamed = _fault(name, request.target, fault)
            self._stats.failed(request.kind, blamed)
            raise blamed from fault
        self._stats.answered(request.kind, response.status, response.headers.get("ratelimit-remaining"))
        return BufferedAnswer(name, request.target, response)

    async def close(self) -> None:
        self._closed = True
        sessions = list(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            await session.close()

    def _session(self, host_class: HostClass) -> aiohttp.ClientSession:
        if host_class not in self._sessions:
            admit, context = self._ways[host_class]
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS,
                limit_per_host=CONNECTIONS_PER_HOST,
                keepalive_timeout=self._settings.limits.idle,
                ssl=context,
                socket_factory=_admitting(admit),
            )
            self._sessions[host_class] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                max_field_size=LONGEST_FIELD,
                max_headers=MOST_HEADERS,
            )
        return self._sessions[host_class]


class BufferedAnswer:
    """``message.Answer`` over aiohttp's response."""

    def __init__(self, upstream: str, target: Target, response: aiohttp.ClientResponse) -> None:
        self._upstream = upstream
        self._target = target
        self._response = response
        self.status = response.status

    def header(self, name: str) -> str | None:
        return self._response.headers.get(name)

    def headers(self, name: str) -> list[str]:
        return self._response.headers.getall(name, [])

    async def read(self, limit: int) -> bytes:
        content = bytearray()
        try:
            while len(content) <= limit:
                piece = await self._response.content.readany()
                if not piece:
                    break
                content += piece
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as fault:
            raise _fault(self._upstream, self._target, fault) from fault
        return bytes(content[: limit + 1])

    async def close(self) -> None:
        """aiohttp has given the connection back already where the body was read to its end."""
        self._response.close()


def _admitting(admit: Callable[[str], None]) -> Callable[[Any], socket.socket]:
    def open_socket(info: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
        family, kind, protocol, _, address = info
        admit(str(address[0]))
        return socket.socket(family, kind, protocol)

    return open_socket


def _fault(upstream: str, target: Target, cause: Exception) -> UpstreamFault:
    """A library's exception as a kind of ours; its text may quote what the other side sent, so only its type is told,
    and the reason where the system gave it."""
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return UpstreamUnreachable(upstream, f"no connection to {target.origin} in time", str(target.origin))
    if isinstance(cause, TimeoutError):
        return UpstreamTimeout(upstream, f"{target} did not answer in time")
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        why = f"the certificate of {target.origin} is not valid: {_reason(cause.certificate_error)}"
        return UpstreamUnreachable(upstream, why, str(target.origin))
    if isinstance(cause, aiohttp.ClientConnectorError):
        why = f"no connection to {target.origin}: {_reason(cause.os_error)}"
        return UpstreamUnreachable(upstream, why, str(target.origin))
    if isinstance(cause, aiohttp.ClientResponseError | aiohttp.InvalidURL) or not isinstance(
        cause, aiohttp.ClientError | OSError
    ):
        return UpstreamBroken(upstream, f"{target} did not answer in HTTP ({type(cause).__name__})")
    return UpstreamUnreachable(upstream, f"the connection to {target.origin} was lost ({type(cause).__name__})")


def _reason(cause: Exception) -> str:
    return getattr(cause, "verify_message", None) or getattr(cause, "strerror", None) or str(cause)
