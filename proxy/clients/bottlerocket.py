"""Bottlerocket: user data in TOML (bottlerocket.dev, "settings.container-registry" and "settings.pki"). Its containerd
names the registry in ``?ns=`` and asks the registry itself after its mirrors, always.
"""

from base64 import b64encode
from collections.abc import Iterator

from proxy.clients.setups import ClientFile, Fallback, Setup, Wish, of_kubelet, quoted

_USER_DATA = "user-data.toml"


def setup(wish: Wish) -> Setup:
    mirrors = [
        f"[[settings.container-registry.mirrors]]\nregistry = {quoted(name)}\nendpoint = [{quoted(str(wish.proxy))}]\n"
        for name in wish.keys
    ]
    return Setup([ClientFile(_USER_DATA, "\n".join([*mirrors, *_trust(wish)]))], list(_notes(wish)))


def _trust(wish: Wish) -> list[str]:
    if wish.ca is None:
        return []
    data = b64encode(wish.ca.encode()).decode()
    return [f"[settings.pki.entrepot]\ndata = {quoted(data)}\ntrusted = true\n"]


def _notes(wish: Wish) -> Iterator[str]:
    yield f"/{_USER_DATA} is no file of a node: put it into the user data of the instance, beside what is there."
    yield "Variants with Docker, those of ECS, mirror Docker Hub only."
    if wish.fallback is Fallback.NO:
        yield "Bottlerocket always asks the registry itself after its mirrors: only the network can forbid that."
    if wish.has_wildcards:
        yield 'registry = "*" stands for names with a star, and so for all: the proxy answers 404 where it knows none.'
    yield from of_kubelet(wish)
