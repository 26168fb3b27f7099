"""All the clients that are known: who writes their files, and who reads them."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from proxy.clients import bottlerocket, buildkit, containerd, docker, rancher, registries_conf
from proxy.clients.chains import Chain, Question
from proxy.clients.node_files import NodeFiles
from proxy.clients.setups import Setup, Wish

SETUPS: Mapping[str, Callable[[Wish], Setup]] = MappingProxyType(
    {
        "containerd": containerd.setup,
        "docker": docker.setup,
        "podman": registries_conf.setup_podman,
        "crio": registries_conf.setup_crio,
        "buildkit": buildkit.setup,
        "bottlerocket": bottlerocket.setup,
        "k3s": rancher.setup_k3s,
        "rke2": rancher.setup_rke2,
    }
)
"""By the word that names the client on the command line."""


def chains(files: NodeFiles, question: Question) -> Iterator[Chain]:
    """Of every client that has files there, for each registry that is asked about."""
    if containerd.is_here(files):
        yield from containerd.chains(files, question)
    if docker.is_here(files):
        yield from docker.chains(files, question)
    yield from registries_conf.chains(files, question)
    if buildkit.is_here(files):
        yield from buildkit.chains(files, question)
    yield from rancher.chains(files, question)
