"""The way out to a registry: straight, or through a forward proxy.

Conventions of the environment variables: Go, golang.org/x/net/http/httpproxy, which container runtimes use; curl(1),
"Environment", for the case of their names. Names are never resolved to see whether an address is excepted.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from proxy.core.authorities import parse_authority

_LABELS = re.compile(r"(?:\*\.|\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_-])?", re.ASCII)


class EgressInvalid(ValueError):
    """A sentence that shows no more of a proxy's URL than its scheme, since the rest may hold a password."""


class Egress(NamedTuple):
    """What the configuration says; what it leaves out the environment says."""

    proxy: str | None = None  # URL
    no_proxy: tuple[str, ...] | None = None  # hosts that are reached straight; an empty one means none


def way_out(egress: Egress, environ: Mapping[str, str], scheme: str, host: str, port: int) -> str | None:
    """The URL of the proxy through which ``scheme://host:port`` is asked, None for straight. User and password are in
    it where the environment has them there. ``host`` is in lower case, IPv6 without brackets.

    Without a proxy in the configuration ``HTTPS_PROXY`` and ``HTTP_PROXY`` hold, by ``scheme`` and never for loopback;
    without exceptions ``NO_PROXY`` holds. Of two spellings the one in lower case counts. Raises EgressInvalid where the
    environment names a proxy that is not to be used.
    """
    if egress.proxy is None and _is_loopback(host):
        return None
    excepted = egress.no_proxy
    if excepted is None:
        excepted = tuple(filter(None, re.split(r"[,\s]+", _variable(environ, "NO_PROXY"))))
    if any(is_excepted(entry, host, port) for entry in excepted):
        return None
    return egress.proxy or proxy_of_environment(environ, scheme)


def is_straight(egress: Egress, environ: Mapping[str, str]) -> bool:
    """Whether nothing names a proxy, so that all ways are straight."""
    return egress.proxy is None and not (_variable(environ, "HTTPS_PROXY") or _variable(environ, "HTTP_PROXY"))


def proxy_of_environment(environ: Mapping[str, str], scheme: str) -> str | None:
    """The proxy for a scheme, ``http`` or ``https``, as a URL. Raises EgressInvalid."""
    name = f"{scheme}_proxy".upper()
    written = _variable(environ, name)
    if not written:
        return None
    url = written if "://" in written else f"http://{written}"
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise EgressInvalid(f"{name} is not the URL of a proxy") from None
    if parts.scheme not in ("http", "https"):
        raise EgressInvalid(f"{name} names a proxy of the kind {parts.scheme[:16]!r}: only http and https can be used")
    if not usable:
        raise EgressInvalid(f"{name} is not the URL of a proxy")
    return url


def is_excepted(entry: str, host: str, port: int) -> bool:
    """Whether an entry of ``NO_PROXY`` covers a host: ``*``, an address, a CIDR, ``name`` with all below it, ``.name``
    or ``*.name`` without itself; all but CIDRs may end in ``:port``. What is none of these covers nothing."""
    entry = entry.strip().lower()
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        return address is not None and _in_network(address, entry)
    name, its_port = _split(entry)
    if its_port not in (None, port):
        return False
    if address is not None:
        return address == _address(name)
    host, name = host.removesuffix("."), name.removesuffix(".")
    if name.startswith(("*.", ".")):
        return host.endswith(name.removeprefix("*"))
    return bool(name) and (host == name or host.endswith(f".{name}"))


def parse_exception(written: str) -> str:
    """An entry of ``no_proxy``, unchanged. Raises ValueError with advice for what would cover nothing."""
    entry = written.strip().lower()
    try:
        if "/" in entry:
            ipaddress.ip_network(entry, strict=False)
            return written
    except ValueError:
        raise ValueError("not a network: write it as 10.0.0.0/8 or fd00::/8") from None
    name, _ = _split(entry)
    if entry != "*" and _address(name) is None and _LABELS.fullmatch(name.removesuffix(".")) is None:
        raise ValueError("not an exception: write host, .suffix, host:port, an address, 10.0.0.0/8 or *")
    return written


def _split(entry: str) -> tuple[str, int | None]:
    if _address(entry) is not None:  # IPv6 needs no brackets here
        return entry, None
    try:
        return parse_authority(entry)
    except ValueError:
        return "", None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address is not None else host.removesuffix(".") == "localhost"


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name.lower()) or environ.get(name) or "").strip()
