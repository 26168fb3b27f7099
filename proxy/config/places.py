"""Where things are: addresses to listen on, registry names, URLs, and patterns over repositories."""

import ipaddress
import re
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import idna
from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from proxy.core.authorities import LARGEST_PORT, format_authority, parse_authority
from proxy.core.names import ALIASES, TIER

_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}", re.ASCII)
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_REGISTRY = re.compile(rf"(?:\*\.)?({_LABEL}(?:\.{_LABEL})*)(?::([0-9]{{1,5}}))?", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9._:@/*?-]{1,512}", re.ASCII)
_SCHEMES = ("http", "https")


class Address(NamedTuple):
    """Where to listen. Port 0 lets the kernel choose."""

    host: str  # IPv6 without brackets
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. Of names only localhost counts."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_any(self) -> bool:
        """Whether it stands for all addresses of this machine."""
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False

    def __str__(self) -> str:
        return format_authority(self.host, self.port)


def parse_address(written: object) -> Address:
    """``host:port``, IPv6 in brackets. Raises ValueError with advice."""
    found = parse_authority(written) if isinstance(written, str) and _ADDRESS.fullmatch(written) else None
    if found is None or found.port is None:
        raise ValueError('not an address: write host:port, such as 127.0.0.1:5000, 0.0.0.0:5000 or "[::1]:5000"')
    return Address(found.host.lower(), found.port)


def canonical_name(written: str) -> str:
    """A registry's name as it is compared: lower-case, IDNA, an alias replaced by what it stands for.

    ``*.`` may stand before it, for exactly one label; ``*`` alone stands for all registries. Raises ValueError with
    advice.
    """
    name = written if written == TIER else _canonical(written)
    return ALIASES.get(name, name)


def _canonical(written: str) -> str:
    if "://" in written:
        raise ValueError("a registry name has no scheme: write the host alone and put the address under url")
    if "/" in written:
        raise ValueError("a registry name has no path: write host or host:port")
    host, colon, port = written.partition(":")
    if host.endswith("."):
        raise ValueError("write the registry name without the dot at its end")
    try:
        host = host.lower() if host.isascii() else idna.encode(host.lower(), uts46=True).decode()
    except idna.IDNAError:
        raise ValueError("not an international domain name") from None
    name = f"{host}{colon}{port}"
    found = _REGISTRY.fullmatch(name)
    if found is None or len(host) > 253:
        raise ValueError("not a registry name: write host or host:port; a star stands for the first label, or alone")
    if found[2] is not None and not 1 <= int(found[2]) <= LARGEST_PORT:
        raise ValueError(f"a port is at least 1 and at most {LARGEST_PORT}")
    return name


def _realm(written: str) -> str:
    scheme, separator, host = written.rpartition("://")
    if separator and scheme not in _SCHEMES:
        raise ValueError("a realm is a host, with http:// or https:// before it or with nothing")
    return f"{scheme}{separator}{_host(host)}"


def _redirect(written: str) -> str:
    if "://" in written:
        raise ValueError("write host or host:port, without a scheme")
    if not written.startswith("["):
        return _host(written)
    found = parse_authority(written)
    return format_authority(str(ipaddress.IPv6Address(found.host)), found.port)


def _single_name(written: str) -> str:
    return ALIASES.get(name := _host(written), name)


def _host(written: str) -> str:
    name = _canonical(written)
    if name.startswith("*."):
        raise ValueError("a star has no place here: write one host")
    return name


def host_of(name: str) -> str:
    """The host of ``host[:port]`` or of a URL, without the port; empty where there is none."""
    try:
        return urlsplit(name if "://" in name else f"//{name}").hostname or ""
    except ValueError:
        return ""


def is_on_loopback(written: str) -> bool:
    """Whether ``host[:port]`` or a URL can mean this machine alone."""
    return Address(host_of(written), 0).is_loopback


def parse_url(written: str) -> str:
    """An http or https URL without userinfo, query or fragment, and without a slash at its end.

    Raises ValueError with advice that never shows the URL, for it may hold a password.
    """
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError:
        raise ValueError("not a URL: write https://host or https://host:port") from None
    if parts.scheme not in _SCHEMES or not parts.hostname or port == 0 or not re.fullmatch(r"[!-~]+", written):
        raise ValueError("not a URL: write https://host or https://host:port (or http)")
    if "@" in parts.netloc:
        raise ValueError("a URL holds no user or password here: use auth with password_file")
    if "?" in written or "#" in written:
        raise ValueError("a URL has no query and no fragment here")
    return written.rstrip("/")


def parse_pattern(written: str) -> str:
    """A glob over ``REGISTRY/REPOSITORY`` or ``REGISTRY/REPOSITORY:TAG``. Raises ValueError with advice."""
    if _PATTERN.fullmatch(written) is None:
        raise ValueError("not a pattern: write names with * and ?, such as docker.io/library/*")
    return written


def parse_host_name(written: str) -> str:
    """A name or an address, as clients write it in front of the port. Raises ValueError with advice."""
    try:
        return str(ipaddress.ip_address(written.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    if ":" in written:
        raise ValueError("not a host: write a name or an address alone, such as mirror.example.com, without a port")
    return _host(written)


def parse_network(written: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network in CIDR form, or one address. Raises ValueError with advice."""
    try:
        return ipaddress.ip_network(str(written))
    except ValueError:
        raise ValueError("not a network: write it as 10.0.0.0/8 or fd00::/8, with no bits behind its prefix") from None


Listen = Annotated[
    Address,
    PlainValidator(parse_address),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_ADDRESS.pattern}$"}),
]
RegistryName = Annotated[str, AfterValidator(canonical_name)]
SingleRegistryName = Annotated[str, AfterValidator(_single_name)]
Url = Annotated[str, AfterValidator(parse_url), WithJsonSchema({"type": "string", "pattern": "^https?://[^?#@]+$"})]
Pattern = Annotated[str, AfterValidator(parse_pattern)]
Patterns = Annotated[tuple[Pattern, ...], Field(strict=False)]
HostName = Annotated[str, AfterValidator(parse_host_name)]
Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network,
    PlainValidator(parse_network),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"}),
]
Realms = Annotated[tuple[Annotated[str, AfterValidator(_realm)], ...], Field(strict=False)]
Redirects = Annotated[tuple[Annotated[str, AfterValidator(_redirect)], ...], Field(strict=False)]
