"""The way to each host: straight, or through a forward proxy. Where anything names a proxy it is asked anew for every
request, and so for every hop of a redirect.

A host behind a proxy is never looked up here, so the address policy judges it by the text of its URL; what is connected
to is the proxy, which the operator named.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from proxy.core.credentials import Credentials, basic
from proxy.core.egress import Egress, EgressInvalid, is_straight, way_out
from proxy.upstream.target import Origin, TargetRefused, parse_target

STRAIGHT = Egress()

ProxyLogin = Callable[[], Awaitable[Credentials]]
"""Asked before each use, so that a file may change under us. Raises WayClosed."""


class WayClosed(Exception):
    """There is no way out, by our own settings. The sentence holds no secret."""


class Proxy(NamedTuple):
    """A forward proxy, and what it is shown as proof."""

    origin: Origin
    credentials: Credentials | None = None

    @property
    def url(self) -> str:
        """With user and password, for a library that wants them there: not for messages."""
        if self.credentials is None:
            return str(self.origin)
        login = f"{quote(self.credentials.username, safe='')}:{quote(self.credentials.password, safe='')}"
        return f"{self.origin.scheme}://{login}@{self.origin.authority}"

    def __str__(self) -> str:
        return f"the proxy {self.origin}"


def proof(proxy: Proxy) -> dict[str, str]:
    """The header that shows it who we are."""
    return {"Proxy-Authorization": basic(proxy.credentials)} if proxy.credentials is not None else {}


class ProxyFailed(OSError):
    """The proxy did not make a connection. The sentence names it."""


def refused_by(proxy: Proxy, status: int) -> ProxyFailed:
    """What a status of the proxy itself means."""
    if status == 407:
        shown = "does not take our user and password" if proxy.credentials else "wants a user and password"
        return ProxyFailed(f"{proxy} {shown} (407)")
    return ProxyFailed(f"{proxy} refused to connect ({status})")


class WaysOut:
    """Of one upstream. Where neither ``egress`` nor ``environ`` names a proxy when this is made, all ways are
    ``straight``, and there is nothing to ask. ``login`` is for the proxy of ``egress``; ``ca_file`` is trusted on the
    way through any."""

    def __init__(
        self,
        egress: Egress = STRAIGHT,
        environ: Mapping[str, str] = MappingProxyType({}),
        login: ProxyLogin | None = None,
        ca_file: str | None = None,
    ) -> None:
        self.ca_file = ca_file
        self.straight = is_straight(egress, environ)
        self._egress = egress
        self._environ = environ
        self._login = login

    async def to(self, origin: Origin) -> Proxy | None:
        """The proxy through which an origin is asked, None for straight. Raises WayClosed."""
        proxy = self.known(origin)
        if proxy is not None and self._egress.proxy is not None and self._login is not None:
            return proxy._replace(credentials=await self._login())
        return proxy

    def known(self, origin: Origin) -> Proxy | None:
        """The same, with no user and password but those that the environment has. Raises WayClosed."""
        try:
            url = way_out(self._egress, self._environ, origin.scheme, origin.host, origin.port)
        except EgressInvalid as invalid:
            raise WayClosed(str(invalid)) from None
        return parse_proxy(url) if url is not None else None


DIRECT = WaysOut()


def parse_proxy(url: str) -> Proxy:
    """A proxy by its URL, which may hold user and password. Raises WayClosed."""
    try:
        parts = urlsplit(url)
        origin = parse_target(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}").origin
    except (TargetRefused, ValueError):
        raise WayClosed("the URL of the proxy cannot be used") from None
    if not parts.username:
        return Proxy(origin)
    return Proxy(origin, Credentials(unquote(parts.username), unquote(parts.password or "")))
