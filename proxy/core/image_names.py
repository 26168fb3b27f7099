"""Repositories as people name them: ``alpine`` means Docker Hub and its ``library`` (distribution/reference, "familiar
names")."""

from proxy.core.errors import NameInvalid
from proxy.core.names import ALIASES, DOCKER_HUB, Repository, names_a_host, parse_name


def repository_named(path: str) -> Repository:
    """Of a name without tag and digest. Raises NameInvalid."""
    host, slash, rest = path.partition("/")
    if not slash or not names_a_host(host):
        host, rest = DOCKER_HUB, path
    host = ALIASES.get(host, host)
    if host == DOCKER_HUB and "/" not in rest:
        rest = f"library/{rest}"
    if len(host) > 255 or not host.isascii() or not host.isprintable():
        raise NameInvalid(host)
    return Repository(host, parse_name(rest))
