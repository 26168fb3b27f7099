"""Which upstream a client means. Only configured names can be meant: everything else is nobody's address."""

import re
from collections.abc import Collection
from dataclasses import dataclass

DOCKER_HUB = "docker.io"
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
ALIASES = {"index.docker.io": DOCKER_HUB, "registry-1.docker.io": DOCKER_HUB}
"""Names under which clients also know an upstream."""


def names_a_host(component: str) -> bool:
    """Whether the first component of a path is a registry's name, as container clients read references: never a
    namespace of some other registry."""
    return component == "localhost" or (component[:1].isalnum() and ("." in component or ":" in component))


@dataclass(frozen=True)
class UpstreamNames:
    """The configured names; a name that begins with ``*.`` stands for every host with exactly one label more."""

    names: frozenset[str]
    default: str | None

    @classmethod
    def of(cls, names: Collection[str], default: str | None) -> "UpstreamNames":
        return cls(frozenset(names), default)

    def find(self, asked: str) -> str | None:
        """The name under which content of this upstream is known: the host itself, aliases of Docker Hub made one.
        None for hosts that are not configured."""
        host = ALIASES.get(asked, asked)
        return host if self.configured(host) is not None else None

    def configured(self, host: str) -> str | None:
        """The key of the configuration that covers the host: itself, or the wildcard."""
        if host in self.names:
            return host if not host.startswith("*.") else None
        label, _, rest = host.partition(".")
        pattern = f"*.{rest}"
        return pattern if pattern in self.names and _LABEL.fullmatch(label) else None
