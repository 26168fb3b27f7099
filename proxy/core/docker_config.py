"""Docker's ``config.json`` and Kubernetes' ``.dockerconfigjson``: which entry is for which registry, and what it holds.

Forms: docker/cli, cli/config/configfile and types.AuthConfig; Kubernetes, "Images: interpretation of config.json"
(entries for a path, stars in a host); docker/docker-credential-helpers, protocol of ``get``.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from proxy.core.authorities import parse_authority
from proxy.core.credentials import Credentials, IdentityToken, Login, unbasic
from proxy.core.foreign_json import Bounds, JsonRefused, parse_json_object
from proxy.core.names import ALIASES, DOCKER_HUB
from proxy.core.patterns import fits

LARGEST = 1024 * 1024
"""Bytes of a file. Kubernetes holds a Secret of at most that much."""

_BOUNDS = Bounds(LARGEST, 10_000)
_HUB_SERVER = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"
_NOT_FOUND = "credentials not found in native keychain"
_KNOWN = ("auths", "credHelpers", "credsStore")


class DockerConfigInvalid(ValueError):
    """A sentence that names the entry and never what it holds."""


class _Place(NamedTuple):
    """What an entry is for: a registry, and the beginning of the names of its repositories."""

    host: str  # in lower case, with its port unless that is 443; a label may hold stars
    path: tuple[str, ...]

    def covers(self, host: str, repository: tuple[str, ...]) -> bool:
        labels, asked = self.host.split("."), host.split(".")
        return len(labels) == len(asked) and all(map(fits, labels, asked)) and repository[: len(self.path)] == self.path

    @property
    def rank(self) -> tuple[int, bool]:
        return len(self.path), "*" not in self.host


class DockerConfig(NamedTuple):
    """A file that was read. Entries are looked into when they are used, so that a bad one hurts its own registry."""

    entries: tuple[tuple[str, dict[str, Any]], ...]  # as they are written, in their order
    helpers: Mapping[str, str]  # the end of a helper's name, by registry
    store: str | None  # the helper for all registries without one of their own

    def helper(self, hosts: Iterable[str]) -> str | None:
        """The helper that is named for one of the hosts itself."""
        wanted = [_place(host).host for host in hosts]
        return next((name for key, name in self.helpers.items() if _place(key).host in wanted), None)

    def login(self, hosts: Iterable[str], repository: str) -> Login | None:
        """What the best entry for a repository holds: the longest path, then a host without stars, then the first one
        written. None where no entry with any content is for it. ``hosts`` are the names of one registry, each with a
        port unless that is 443. Raises DockerConfigInvalid."""
        path, asked = tuple(filter(None, repository.split("/"))), [_place(host).host for host in hosts]
        best: tuple[tuple[int, bool], Login] | None = None
        for key, entry in self.entries:
            place = _place(key)
            if any(place.covers(host, path) for host in asked) and (best is None or place.rank > best[0]):
                login = _login(key, entry)
                best = (place.rank, login) if login is not None else best
        return best[1] if best is not None else None

    def faults(self) -> Iterator[str]:
        """A sentence for each entry that cannot be used."""
        for key, entry in self.entries:
            try:
                _login(key, entry)
            except DockerConfigInvalid as invalid:
                yield str(invalid)


def parse_docker_config(content: bytes) -> DockerConfig:
    """Raises DockerConfigInvalid for what has not the form as a whole."""
    try:
        document = parse_json_object(content, _BOUNDS)
    except JsonRefused as refused:
        raise DockerConfigInvalid(f"not a Docker config.json: {refused}") from None
    if not any(key in document for key in _KNOWN):
        raise DockerConfigInvalid("not a Docker config.json: it has none of auths, credHelpers and credsStore")
    entries, helpers = _mapping(document, "auths"), _mapping(document, "credHelpers")
    store = document.get("credsStore")
    if not all(isinstance(entry, dict) for entry in entries.values()):
        raise DockerConfigInvalid("auths: each entry must be an object")
    if not all(isinstance(name, str) for name in (*helpers.values(), store or "")):
        raise DockerConfigInvalid("credHelpers and credsStore: the name of a helper must be text")
    return DockerConfig(tuple(entries.items()), helpers, store or None)


def helper_server(host: str) -> str:
    """The name under which helpers keep a registry."""
    return _HUB_SERVER if _place(host).host == DOCKER_HUB else host


def parse_helper_answer(output: bytes) -> Login | None:
    """What ``docker-credential-NAME get`` printed; None where it says that it has nothing. Raises DockerConfigInvalid,
    quoting none of it."""
    if output.strip().decode("ascii", "replace") == _NOT_FOUND:
        return None
    try:
        answer = parse_json_object(output, _BOUNDS)
    except JsonRefused:
        raise DockerConfigInvalid("its answer is not JSON") from None
    username, secret = answer.get("Username"), answer.get("Secret")
    if not isinstance(username, str) or not isinstance(secret, str) or not secret:
        raise DockerConfigInvalid("its answer has no Username and Secret")
    return IdentityToken(secret) if username == _TOKEN_USER else Credentials(username, secret)


def _mapping(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DockerConfigInvalid(f"{key}: must be an object")
    return value


def _place(key: str) -> _Place:
    """Whatever is written means something; a key that is no host matches none."""
    rest = key.strip().removeprefix("https://").removeprefix("http://")
    host, _, path = rest.partition("/")
    names = tuple(filter(None, path.split("/")))
    if names and names[0] in ("v1", "v2"):
        names = names[1:]
    try:
        name, port = parse_authority(host.lower())
    except ValueError:
        return _Place(host, names)
    whole = name if port in (None, 443) else f"{name}:{port}"
    return _Place(ALIASES.get(whole, whole), names)


def _login(key: str, entry: dict[str, Any]) -> Login | None:
    """Raises DockerConfigInvalid."""
    texts = {}
    for field in ("identitytoken", "auth", "username", "password", "registrytoken"):
        value = entry.get(field) or ""
        if not isinstance(value, str):
            raise _fault(key, f"{field} must be text")
        texts[field] = value
    if texts["identitytoken"]:
        return IdentityToken(texts["identitytoken"])
    if texts["auth"]:
        return _decoded(key, texts["auth"])
    if texts["username"] and texts["password"]:
        return Credentials(texts["username"], texts["password"])
    if texts["username"] or texts["password"]:
        raise _fault(key, "username and password go together")
    if texts["registrytoken"]:
        raise _fault(key, "a registrytoken ends soon and cannot be renewed: log in again with a password or token")
    return None


def _decoded(key: str, auth: str) -> Credentials:
    try:
        username, password = unbasic(auth.encode())
        found = Credentials(username, password.decode().strip("\0"))
    except ValueError:
        raise _fault(key, "auth is not USER:PASSWORD in base64") from None
    if not username:
        raise _fault(key, "auth is not USER:PASSWORD in base64")
    return found


def _fault(key: str, sentence: str) -> DockerConfigInvalid:
    shown = key if key.isascii() and key.isprintable() and len(key) <= 300 else ascii(key)[1:300]
    return DockerConfigInvalid(f"auths, {shown}: {sentence}")
