"""The names of the OCI distribution spec as values that cannot be malformed.

A digest, tag or repository that exists has passed its grammar, so nobody below the front checks again and file names
may be made of them. Grammar: OCI distribution-spec "Pulling manifests"; image-spec descriptor "Digests". Of upstreams
only configured names can be meant: everything else is nobody's address, unless there is a tier, which takes all names.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, Self

from proxy.core.errors import DigestInvalid, NameInvalid, TagInvalid
from proxy.core.steps import Steps

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)
NAME_LIMIT = 255
_HASHED = 256 << 10  # bytes in one step
DOCKER_HUB = "docker.io"
TIER = "*"
"""The key of the configuration that stands for every registry that no other key covers."""
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_REGISTRY = re.compile(rf"(?=[^:]{{1,253}}(?::|$)){_LABEL.pattern}(?:\.{_LABEL.pattern})*(?::[0-9]{{1,5}})?", re.ASCII)
ALIASES = {"index.docker.io": DOCKER_HUB, "registry-1.docker.io": DOCKER_HUB}
"""Names under which clients also know an upstream."""


class Digest(str):
    """``algorithm:hex``, sha256 or sha512, the algorithms whose bytes Entrepot can verify."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises DigestInvalid for any other algorithm, length, case or character."""
        if _DIGEST.fullmatch(text) is None:
            raise DigestInvalid(text)
        return cls(text)

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> Self:
        return cls(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        return self.partition(":")[2]

    def matches(self, content: bytes) -> bool:
        return hashlib.new(self.algorithm, content).hexdigest() == self.encoded


def digest_of(content: bytes, algorithm: str) -> Steps[Digest]:
    """The digest of what may be long: where nothing speeds it up, a megabyte takes some milliseconds."""
    state, view = hashlib.new(algorithm), memoryview(content)
    for start in range(0, len(view), _HASHED):
        if start:
            yield
        state.update(view[start : start + _HASHED])
    return Digest(f"{algorithm}:{state.hexdigest()}")


class Hasher:
    """Proof that bytes are those of a digest, gathered while they pass: counts and hashes them in order. Large updates
    release the interpreter lock."""

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        self.count = 0
        self._state = hashlib.new(digest.algorithm)

    def update(self, content: bytes | memoryview) -> None:
        self._state.update(content)
        self.count += len(content)

    def so_far(self) -> bytes:
        """The hash of what has passed."""
        return self._state.digest()

    def agrees(self) -> bool:
        return self._state.hexdigest() == self.digest.encoded

    def copy(self) -> "Hasher":
        """The same proof so far, to be carried on by somebody else."""
        twin = Hasher.__new__(Hasher)
        twin.digest, twin.count, twin._state = self.digest, self.count, self._state.copy()
        return twin


class Tag(str):
    """A tag of at most 128 characters."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises TagInvalid."""
        if _TAG.fullmatch(text) is None:
            raise TagInvalid(text)
        return cls(text)


Reference = Tag | Digest


def parse_reference(text: str) -> Reference:
    """A digest where there is a colon, otherwise a tag. Raises DigestInvalid or TagInvalid."""
    return Digest.parse(text) if ":" in text else Tag.parse(text)


class Repository(NamedTuple):
    """A repository of one upstream: what rights, tags and rules belong to."""

    upstream: str  # the registry name that clients and the configuration use
    name: str

    def __str__(self) -> str:
        return f"{self.upstream}/{self.name}"


def parse_name(text: str) -> str:
    """The repository name, unchanged. Raises NameInvalid."""
    if len(text) > NAME_LIMIT or _NAME.fullmatch(text) is None:
        raise NameInvalid(text)
    return text


def names_a_host(component: str) -> bool:
    """Whether the first component of a path is a registry's name, as container clients read references: never a
    namespace of some other registry."""
    return component == "localhost" or (component[:1].isalnum() and ("." in component or ":" in component))


@dataclass(frozen=True)
class UpstreamNames:
    """The configured names; a name that begins with ``*.`` stands for every host with exactly one label more, and
    ``*`` for every registry that is not covered otherwise."""

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
        """The key of the configuration that covers the host: itself, the wildcard, or the tier."""
        if host in self.names:
            return host if not host.startswith(TIER) else None
        label, _, rest = host.partition(".")
        pattern = f"*.{rest}"
        if pattern in self.names and _LABEL.fullmatch(label):
            return pattern
        of_tier = TIER in self.names and names_a_host(host) and _REGISTRY.fullmatch(host)
        return TIER if of_tier else None
