"""The Docker Engine: ``daemon.json`` (dockerd(8)). Its mirrors stand for Docker Hub alone and are asked by bare paths;
images of all other registries are named by the path form, ``PROXY/REGISTRY/NAME``.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult

from proxy.clients.chains import (
    Chain,
    FilePlace,
    Hop,
    Patience,
    Question,
    ReadHop,
    Trouble,
    asks_proxy,
    gathered,
    of_proxy,
    parts_of,
    wrong_scheme,
)
from proxy.clients.marker import marked_json
from proxy.clients.node_files import NodeFiles, Unread, strings
from proxy.clients.setups import ClientFile, Fallback, ProxyAddress, Setup, Wish, ca_files
from proxy.core.names import DOCKER_HUB

CONFIG = "etc/docker/daemon.json"
PATIENCE = Patience(15.0)  # the Engine's ping of a registry, before anything else
_BARE = "set default_upstream: docker.io in the proxy's configuration: bare paths are all that a mirror is asked"


def setup(wish: Wish) -> Setup:
    document: dict[str, object] = {}
    if _mirrors_hub(wish):
        document["registry-mirrors"] = [str(wish.proxy)]
    if not wish.proxy.secure:
        document["insecure-registries"] = [wish.proxy.authority]
    files = [ClientFile(CONFIG, marked_json(document))] if document else []
    certificates = ca_files(wish, f"etc/docker/certs.d/{wish.proxy.authority}/ca.crt")
    return Setup([*files, *certificates], list(_notes(wish)))


def _mirrors_hub(wish: Wish) -> bool:
    return wish.default == DOCKER_HUB and any(registry.name == DOCKER_HUB for registry in wish.registries)


def _notes(wish: Wish) -> Iterator[str]:
    others = [registry for registry in wish.with_path_form if registry.name != DOCKER_HUB]
    if not _mirrors_hub(wish):
        yield f"registry-mirrors is left out, since bare paths mean {wish.default or 'nothing'}: {_BARE}."
    elif wish.fallback is Fallback.NO:
        yield "The Engine always asks Docker Hub after its mirrors: to forbid that, name images by the path form."
    if others:
        example = f"{wish.proxy.authority}/{others[0].name}/NAME:TAG"
        yield f"registry-mirrors mirrors Docker Hub only. Name images of other registries by the path form: {example}."
    yield (
        "Restart dockerd, or `kill -HUP` it. Where the file has settings of your own, add the keys by hand; a key that "
        "is an option of dockerd's command line too keeps it from starting."
    )


# ---------------------------------------------------------------- what a node has


def is_here(files: NodeFiles) -> bool:
    return files.has(CONFIG)


def chains(files: NodeFiles, question: Question) -> Iterator[Chain]:
    try:
        document = files.json(CONFIG)
    except Unread as unread:
        yield from unread.chains("docker", question, PATIENCE, "correct it: dockerd does not start with it")
        return
    for registry in question.registries:
        if registry.name == DOCKER_HUB:
            yield _of_hub(files, question, strings(document.get("registry-mirrors")))
        else:
            place = files.place(CONFIG, "registry-mirrors")
            troubles = list(_by_path(files, question.proxy, document)) if registry.has_path_form else []
            yield Chain("docker", registry.name, [Hop(place, None)], place, PATIENCE, troubles)


def _of_hub(files: NodeFiles, question: Question, mirrors: list[str]) -> Chain:
    hops, troubles = gathered(_hop(files, question, mirror) for mirror in mirrors)
    # After the mirrors, whatever they are, comes Docker Hub.
    end = files.place(CONFIG, "registry-mirrors")
    return Chain("docker", DOCKER_HUB, [*hops, Hop(end, None)], end, PATIENCE, troubles)


def _hop(files: NodeFiles, question: Question, mirror: str) -> ReadHop:
    place = files.place(CONFIG, f'"{mirror}"')
    url = parts_of(mirror)
    if not asks_proxy(question.proxy, url.netloc, url.scheme):
        return ReadHop(Hop(place, mirror))
    return of_proxy(place, mirror, _wrong(question, url, mirror, place))


def _wrong(question: Question, url: SplitResult, mirror: str, place: FilePlace) -> Iterator[Trouble]:
    yield from wrong_scheme(question.proxy, url.scheme, place, mirror)
    if url.path.rstrip("/") or url.query or url.fragment:
        yield Trouble(place, f"{mirror} has more than host and port: dockerd does not start", f"write {question.proxy}")
    if question.default != DOCKER_HUB:
        yield Trouble(place, f"bare paths, which docker asks for, mean {question.default or 'nothing'} here", _BARE)


def _by_path(files: NodeFiles, proxy: ProxyAddress, document: Mapping[str, Any]) -> Iterator[Trouble]:
    """Images that are named after a proxy without TLS, where the Engine knows it as its mirror."""
    known = any(asks_proxy(proxy, parts_of(each).netloc, "http") for each in strings(document.get("registry-mirrors")))
    if known and not proxy.secure and not _may_be_plain(proxy, strings(document.get("insecure-registries"))):
        place = files.place(CONFIG, "insecure-registries")
        what = f"plain http is not allowed for {proxy.authority}: images named after the proxy cannot be pulled"
        yield Trouble(place, what, f'"insecure-registries": ["{proxy.authority}"]')


def _may_be_plain(proxy: ProxyAddress, insecure: list[str]) -> bool:
    """Registries by name or by network; loopback is always allowed."""
    if any(asks_proxy(proxy, each, "http") for each in insecure):
        return True
    try:
        host = ipaddress.ip_address(proxy.host)
    except ValueError:
        return proxy.host == "localhost"
    return host.is_loopback or any(host in network for each in insecure if (network := _network(each)))


def _network(written: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(written, strict=False)
    except ValueError:
        return None
