"""What a client is to be told, and the files that tell it."""

import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from proxy.core.authorities import PORTS, is_own_address, parse_authority, shortest_authority
from proxy.core.ecr_names import parse_ecr_host
from proxy.core.names import DOCKER_HUB

CA_FILE = "etc/entrepot/ca.crt"
"""Where a certificate authority is for clients that are told its path."""
_HOST = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z._-]*[0-9A-Za-z])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)  # name, IPv6


class ProxyAddress(NamedTuple):
    """Where nodes reach the proxy."""

    scheme: str  # http or https
    host: str  # IPv6 without brackets
    port: int

    @classmethod
    def parse(cls, written: str) -> Self:
        """A URL without a path; http where there is no scheme. Raises ValueError with advice, which never shows what
        was written, for it may hold a password."""
        advice = "write http://HOST:PORT or https://HOST:PORT, without user and path"
        scheme, found, rest = written.rpartition("://")
        scheme = scheme.lower() if found else "http"
        if scheme not in PORTS:
            raise ValueError(advice)
        try:
            host, port = parse_authority(rest.rstrip("/"))
        except ValueError as cause:
            raise ValueError(f"{advice}: {cause}") from None
        if port == 0 or _HOST.fullmatch(host) is None:
            raise ValueError(advice)
        return cls(scheme, host.lower(), port or PORTS[scheme])

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def is_own(self) -> bool:
        """Whether it is this machine, whatever the port."""
        return is_own_address(self.host)

    @property
    def authority(self) -> str:
        """The port is written unless it follows from the scheme."""
        return shortest_authority(*self)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class MirroredRegistry(NamedTuple):
    """An upstream as clients know it. ``url`` is where it is itself."""

    name: str  # host or host:port; with ``*.`` before it, all hosts with one label more; ``*`` for all others
    url: str

    @property
    def is_wildcard(self) -> bool:
        return self.name.startswith("*")

    @property
    def has_path_form(self) -> bool:
        """Whether its name can be a component of a repository's name, as in ``PROXY/NAME/team/app``."""
        return not self.is_wildcard and ":" not in self.name

    @property
    def is_ecr(self) -> bool:
        """Whether kubelet's credential provider knows it."""
        return parse_ecr_host(self.name.replace("*", "0" * 12, 1)) is not None

    @property
    def location(self) -> str:
        """Its own place without a scheme, for clients that need not be told where Docker Hub is."""
        at = urlsplit(self.url)
        return self.name if self.name == DOCKER_HUB or at.path or not at.netloc else at.netloc

    @property
    def is_plain(self) -> bool:
        return self.url.startswith("http://")


class Fallback(StrEnum):
    """What a client does while the proxy is dead: it asks the registry itself, or it fails."""

    YES = "yes"
    NO = "no"


class Wish(NamedTuple):
    """``default`` is the registry that bare paths mean; ``ca`` the certificates that the proxy's is signed by, as PEM,
    where the system's do not do."""

    proxy: ProxyAddress
    registries: Sequence[MirroredRegistry]
    default: str | None
    fallback: Fallback = Fallback.YES
    ca: str | None = None

    @property
    def named(self) -> list[MirroredRegistry]:
        return [registry for registry in self.registries if not registry.is_wildcard]

    @property
    def keys(self) -> list[str]:
        """The names, for clients in whose files one star stands for all names with a star."""
        return [registry.name for registry in self.named] + (["*"] if self.has_wildcards else [])

    @property
    def with_path_form(self) -> list[MirroredRegistry]:
        return [registry for registry in self.registries if registry.has_path_form]

    @property
    def has_wildcards(self) -> bool:
        return any(registry.is_wildcard for registry in self.registries)


class ClientFile(NamedTuple):
    """``path`` is below the root of the node, without a slash before it."""

    path: str
    text: str


class Setup(NamedTuple):
    """Files to write, and what they cannot say: sentences for a person."""

    files: Sequence[ClientFile]
    notes: Sequence[str]


def ca_files(wish: Wish, path: str) -> list[ClientFile]:
    return [] if wish.ca is None else [ClientFile(path, wish.ca)]


def quoted(text: str) -> str:
    """A basic string of TOML and of YAML. In ASCII, which names and URLs are, both know all that JSON escapes."""
    return json.dumps(text)


def without_path_form(wish: Wish, client: str) -> list[str]:
    """What to say of registries that a client which knows only the path form cannot be told of."""
    return [
        f"{registry.name} is left out: {client} needs each registry by a name without star and port, because it puts "
        f"the name into the path. Give it such a name under upstreams."
        for registry in wish.registries
        if not registry.has_path_form
    ]


def of_kubelet(wish: Wish) -> list[str]:
    """The trap of kubelet's ECR credential provider, where there is an ECR registry."""
    if not any(registry.is_ecr for registry in wish.registries):
        return []
    fallback = (
        "Pulls by the registry's own name keep that: when the proxy is dead, the node asks ECR with its own role."
        if wish.fallback is Fallback.YES
        else "The proxy pulls with a role of its own, so nodes need none."
    )
    return [
        "kubelet's ECR credential provider goes by the name of the image: an image that is named after the proxy "
        f"({wish.proxy.authority}/ACCOUNT.dkr.ecr…) gets no credentials. {fallback} What the provider gives for an "
        "image is offered to any mirror that asks for a login: a proxy that did would be shown the node's ECR token."
    ]
