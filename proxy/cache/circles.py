"""Who may wait with whom for one answer of a registry: those who ask with the same credential and came the same way.

Where another cache is asked, those who come through other caches do not wait with each other: two that ask each other
in a circle would, each for what the other one waits for, and nothing would come back to tell.
"""

from collections.abc import Callable

from proxy.core.names import Repository
from proxy.core.via import Hops
from proxy.tasks.hops import CAME_BY, SCOPE
from proxy.upstream.contract import Registry

Way = tuple[Hops, bytes]
"""Part of the key of a flight."""


def apart(repository: Repository, registry: Callable[[str], Registry]) -> Hops:
    """The way by which a question came, where waiting together may be waiting for oneself."""
    hops = CAME_BY.get()
    return hops if hops and registry(repository.upstream).forwards else ()


def way(repository: Repository, registry: Callable[[str], Registry]) -> Way:
    """Of the question that is being answered."""
    return apart(repository, registry), SCOPE.get()
