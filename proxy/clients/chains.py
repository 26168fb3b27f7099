"""The way of a pull through a client's files: whom it asks, in which order, and what comes of it."""

from collections.abc import Iterable, Sequence
from enum import Enum, StrEnum
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from proxy.clients.setups import MirroredRegistry, ProxyAddress
from proxy.core.authorities import PORTS, is_own_address, parse_authority
from proxy.core.names import ALIASES


class FilePlace(NamedTuple):
    """Where it says so; ``line`` counts from 1, None for the file as a whole."""

    path: str  # below the root, without a slash before it
    line: int | None = None

    def __str__(self) -> str:
        return f"/{self.path}" if self.line is None else f"/{self.path}:{self.line}"


class Trouble(NamedTuple):
    """What is wrong with a file, and what to do."""

    place: FilePlace
    what: str
    fix: str


class Hop(NamedTuple):
    """One that a client asks. ``url`` is None for the registry itself. ``good`` says whether the proxy can answer what
    is asked there in this way."""

    place: FilePlace
    url: str | None
    is_proxy: bool = False
    good: bool = True


class ReadHop(NamedTuple):
    """A hop as a file has it, and what is wrong with that."""

    hop: Hop
    troubles: Sequence[Trouble] = ()


class Patience(NamedTuple):
    """How long a client waits for one that takes the connection and says nothing: seconds, None for without end."""

    seconds: float | None
    remark: str = ""  # on the seconds


class Chain(NamedTuple):
    """One client's way to one registry. Where ``hops`` are used up, the pull fails; ``end`` is the file that ends
    it."""

    client: str
    registry: str
    hops: Sequence[Hop]
    end: FilePlace
    patience: Patience
    troubles: Sequence[Trouble] = ()


class ProxyCondition(StrEnum):
    """How the proxy is: it answers, it takes connections and says nothing, nobody listens."""

    UP = "up"
    SLOW = "slow"
    DEAD = "dead"


class Goes(Enum):
    PROXY = "through the proxy"
    DIRECTLY = "directly"
    ELSEWHERE = "elsewhere"
    WAITS = "waits"
    FAILS = "fails"


class ChainOutcome(NamedTuple):
    """``place`` is what decides it."""

    goes: Goes
    place: FilePlace
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.goes.value} {self.detail}".rstrip()


def outcome(chain: Chain, condition: ProxyCondition) -> ChainOutcome:
    """What a pull does. A proxy that cannot answer a hop refuses it at once, whatever else it does."""
    waited = ""
    for hop in chain.hops:
        if not hop.is_proxy:
            return _at(hop, waited)
        if not hop.good:
            continue
        if condition is ProxyCondition.UP:
            return ChainOutcome(Goes.PROXY, hop.place)
        if condition is ProxyCondition.SLOW:
            if chain.patience.seconds is None:
                return ChainOutcome(Goes.WAITS, hop.place, "without end")
            waited = f"after {chain.patience.seconds:.0f} s{chain.patience.remark}"
    return ChainOutcome(Goes.FAILS, chain.end, waited)


def _at(hop: Hop, waited: str) -> ChainOutcome:
    if hop.url is None:
        return ChainOutcome(Goes.DIRECTLY, hop.place, waited)
    return ChainOutcome(Goes.ELSEWHERE, hop.place, f"{waited} ({hop.url})".strip())


class Question(NamedTuple):
    """What is asked of a node's files."""

    proxy: ProxyAddress
    registries: Sequence[MirroredRegistry]  # none with a star
    default: str | None  # what bare paths mean


def parts_of(written: str) -> SplitResult:
    """Of a URL as somebody wrote it; no host where it is none."""
    try:
        return urlsplit(written)
    except ValueError:
        return SplitResult("", "", "", "", "")


def asks_proxy(proxy: ProxyAddress, authority: str, scheme: str) -> bool:
    """Whether a host and port as written are where the proxy is reached, over whichever scheme. All names of this
    machine are one."""
    try:
        host, port = parse_authority(authority)
    except ValueError:
        return False
    port = port or PORTS.get(scheme, PORTS["http"])
    same = host.lower() == proxy.host or (is_own_address(host) and is_own_address(proxy.host))
    return same and port == proxy.port


def of_proxy(place: FilePlace, written: str, troubles: Iterable[Trouble]) -> ReadHop:
    """The proxy can answer what is asked of it in a way with which nothing is wrong."""
    found = list(troubles)
    return ReadHop(Hop(place, written, is_proxy=True, good=not found), found)


def of_another(registry: MirroredRegistry, authority: str, place: FilePlace, written: str) -> ReadHop:
    """The registry itself, or a stranger."""
    return ReadHop(Hop(place, None if _asks_registry(registry, authority) else written))


def _asks_registry(registry: MirroredRegistry, authority: str) -> bool:
    asked = authority.lower()
    return ALIASES.get(asked, asked) == registry.name or asked == urlsplit(registry.url).netloc


def gathered(read: Iterable[ReadHop]) -> tuple[list[Hop], list[Trouble]]:
    """The hops in their order, and all that is wrong with any."""
    hops: list[Hop] = []
    troubles: list[Trouble] = []
    for each in read:
        hops.append(each.hop)
        troubles += each.troubles
    return hops, troubles


def wrong_scheme(proxy: ProxyAddress, scheme: str, place: FilePlace, written: str) -> Iterable[Trouble]:
    """A trouble where a client speaks TLS to a proxy that does not, or the other way about."""
    if scheme != proxy.scheme:
        spoken = "TLS" if scheme == "https" else "plain http"
        yield Trouble(place, f"{written} is asked by {spoken}, and the proxy is at {proxy}", f"write {proxy}")
