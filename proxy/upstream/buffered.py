"""The client for everything that fits in memory: manifests, tags, referrers, tokens. aiohttp moves them.

One session for each host class and kind of way, since the address policy is decided where the final address is known:
in the connector's socket factory, which sees literal addresses and resolved names alike, and a proxy's where one is
asked.
"""

import asyncio
import os
import socket
import ssl
from functools import partial
from typing import Any

import aiohttp
from yarl import URL

from proxy.core.errors import UpstreamBroken, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from proxy.upstream.address import Admit
from proxy.upstream.egress import Proxy, ProxyFailed, proof, refused_by
from proxy.upstream.health import Stats
from proxy.upstream.message import USER_AGENT, HostClass, Request
from proxy.upstream.passage import Passages
from proxy.upstream.settings import KIB, RegistrySettings
from proxy.upstream.target import Target

CONNECTIONS = 256
CONNECTIONS_PER_HOST = 32
_OURS = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
LONGEST_FIELD = 32 * KIB  # bytes of one header: a signed URL in a Location may have 9,000
MOST_HEADERS = 128


class BufferedClient:
    """The sessions of one upstream; they come into being with the first request, in the loop that makes it."""

    def __init__(self, settings: RegistrySettings, passages: Passages, stats: Stats) -> None:
        self._settings = settings
        self._stats = stats
        self._passages = passages
        self._closed = False
        self._sessions: dict[tuple[HostClass, bool], aiohttp.ClientSession] = {}  # by class, and whether by a proxy

    async def send(self, request: Request) -> "BufferedAnswer":
        """Raises UpstreamUnreachable, UpstreamTimeout or UpstreamBroken."""
        name, limits = self._settings.name, self._settings.limits
        if self._closed:
            raise UpstreamUnreachable(name, "its client is closing")
        proxy = None
        try:
            if not self._passages.straight:
                proxy = await self._passages.proxy(request)
            async with asyncio.timeout(limits.connect + limits.first_byte):
                response = await self._ask(request, proxy)
        except UpstreamFault as fault:
            self._stats.failed(request.kind, fault)
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as fault:
            blamed = _fault(name, request.target, fault, proxy)
            self._stats.failed(request.kind, blamed)
            raise blamed from fault
        self._stats.answered(request.kind, response.status, response.headers.get("ratelimit-remaining"))
        return BufferedAnswer(name, request.target, response, limits.stall)

    async def _ask(self, request: Request, proxy: Proxy | None) -> aiohttp.ClientResponse:
        # The library knows one pause between two reads; before the headers ours is another than in the body.
        timeout = aiohttp.ClientTimeout(total=request.total, sock_connect=self._settings.limits.connect)
        in_the_open = proxy is not None and request.target.origin.scheme == "http"
        shown = proof(proxy) if proxy is not None else {}
        response = await self._session(request.host_class, proxy).request(
            request.method,
            URL(request.target.url, encoded=True),
            headers={**_OURS, **request.headers, **(shown if in_the_open else {})},
            data=request.body or None,
            allow_redirects=False,
            timeout=timeout,
            proxy=str(proxy.origin) if proxy is not None else None,
            proxy_headers=shown if proxy is not None else None,
        )
        if proxy is not None and in_the_open and response.status == 407:
            response.close()
            raise refused_by(proxy, response.status)
        return response

    async def close(self) -> None:
        self._closed = True
        sessions = list(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            await session.close()

    def _session(self, host_class: HostClass, proxy: Proxy | None) -> aiohttp.ClientSession:
        key = host_class, proxy is not None
        if key not in self._sessions:
            passage = self._passages.of(host_class)
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS,
                limit_per_host=CONNECTIONS_PER_HOST,
                keepalive_timeout=self._settings.limits.idle,
                ssl=passage.trust if proxy is None else passage.proxied_trust,
                socket_factory=partial(_open_socket, passage.admit if proxy is None else passage.admit_proxy),
            )
            self._sessions[key] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                max_field_size=LONGEST_FIELD,
                max_headers=MOST_HEADERS,
            )
        return self._sessions[key]


class BufferedAnswer:
    """``message.Answer`` over aiohttp's response."""

    def __init__(self, upstream: str, target: Target, response: aiohttp.ClientResponse, stall: float) -> None:
        self._upstream = upstream
        self._target = target
        self._response = response
        self._stall = stall  # seconds
        self.status = response.status

    def header(self, name: str) -> str | None:
        return self._response.headers.get(name)

    def headers(self, name: str) -> list[str]:
        return self._response.headers.getall(name, [])

    async def read(self, limit: int) -> bytes:
        content = bytearray()
        try:
            while len(content) <= limit:
                async with asyncio.timeout(self._stall):
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


def _open_socket(admit: Admit, info: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
    """To where the connection goes at last, whatever named it. Raises AddressForbidden."""
    family, kind, protocol, _, address = info
    admit(str(address[0]))
    return socket.socket(family, kind, protocol)


def _fault(upstream: str, target: Target, cause: Exception, proxy: Proxy | None = None) -> UpstreamFault:
    """A library's exception as a kind of ours; its text may quote what the other side sent, so only its type is told,
    and the reason where the system gave it."""
    if proxy is not None and (blamed := _proxy_fault(proxy, cause)) is not None:
        return UpstreamUnreachable(upstream, f"no connection to {target.origin}: {blamed}")
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


def _proxy_fault(proxy: Proxy, cause: Exception) -> ProxyFailed | None:
    """Where the proxy is to blame."""
    if isinstance(cause, ProxyFailed):
        return cause
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return refused_by(proxy, cause.status)
    if isinstance(cause, aiohttp.ClientProxyConnectionError):
        return ProxyFailed(f"no connection to {proxy}: {_reason(cause.os_error)}")
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return ProxyFailed(f"no connection to {proxy} in time, or none of it")
    place = (proxy.origin.host, proxy.origin.port)
    if isinstance(cause, aiohttp.ClientConnectorCertificateError) and (cause.host, cause.port) == place:
        return ProxyFailed(f"the certificate of {proxy} is not valid: {_reason(cause.certificate_error)}")
    return None


def _reason(cause: Exception) -> str:
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError | socket.gaierror) and cause.errno:
        return os.strerror(cause.errno)  # of the loop's own text the address is known already
    return getattr(cause, "verify_message", None) or getattr(cause, "strerror", None) or str(cause)
