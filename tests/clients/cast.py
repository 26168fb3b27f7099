"""A node's files, and questions about them."""

from collections.abc import Mapping

from proxy.clients.chains import Chain, ProxyCondition, Question, outcome
from proxy.clients.disk import as_written
from proxy.clients.kinds import chains
from proxy.clients.node_files import NodeFiles
from proxy.clients.setups import ClientFile, Fallback, MirroredRegistry, ProxyAddress, Wish

PROXY = ProxyAddress.parse("http://10.0.0.5:5000")
SECURE = ProxyAddress.parse("https://entrepot.internal")
HUB = MirroredRegistry("docker.io", "https://registry-1.docker.io")
GHCR = MirroredRegistry("ghcr.io", "https://ghcr.io")
PLAIN = MirroredRegistry("registry.test", "http://127.0.0.1:5010")
WITH_PORT = MirroredRegistry("registry.test:5010", "https://registry.test:5010")
ECR = MirroredRegistry("*.dkr.ecr.eu-west-1.amazonaws.com", "https://000000000000.dkr.ecr.eu-west-1.amazonaws.com")
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def wish(
    *registries: MirroredRegistry,
    proxy: ProxyAddress = PROXY,
    default: str | None = "docker.io",
    fallback: Fallback = Fallback.YES,
    ca: str | None = None,
) -> Wish:
    return Wish(proxy, registries or (HUB, GHCR, PLAIN), default, fallback, ca)


def node(texts: Mapping[str, str], *folders: str) -> NodeFiles:
    """The folders of the files are there too."""
    above = {"/".join(path.split("/")[:n]) for path in texts for n in range(1, path.count("/") + 1)}
    return NodeFiles(texts, frozenset({*above, *folders}))


def with_files(*files: ClientFile) -> NodeFiles:
    return node({file.path: as_written(file) for file in files})


def asked(
    files: NodeFiles,
    *registries: MirroredRegistry,
    proxy: ProxyAddress = PROXY,
    default: str | None = "docker.io",
) -> list[Chain]:
    return list(chains(files, Question(proxy, registries or (HUB, GHCR, PLAIN), default)))


def ways(chain: Chain) -> dict[str, str]:
    """What comes of a pull, by how the proxy is."""
    return {condition.value: str(outcome(chain, condition)) for condition in ProxyCondition}
