"""What is under way, as it is asked for and told. Sizes are bytes."""

from pydantic import TypeAdapter

from proxy.admin.messages import Message, NothingMore, Operation


class LiveFill(Message):
    """A blob that arrives. ``size`` is None where upstream did not say it; ``clients`` read it meanwhile."""

    digest: str
    repository_name: str
    received: int
    size: int | None
    clients: int
    origins: tuple[str, ...]


class LiveRequest(Message):
    """A client's request that is not answered to its end. ``outcome`` is empty until it is decided; ``length`` is None
    until then, and where nobody knows it."""

    client: str
    user: str
    method: str
    kind: str
    repository_name: str
    reference: str
    outcome: str
    sent: int
    length: int | None
    seconds: float


class LiveView(Message):
    """As of ``at``, seconds of a clock of the proxy's own. The lists have the largest only; ``fills`` and ``requests``
    count all. ``served`` and ``fetched`` are sums since the start."""

    at: float
    connections: int
    requests: int
    fills: int
    served: int
    fetched: int
    arriving: tuple[LiveFill, ...]
    pulls: tuple[LiveRequest, ...]


LIVE = Operation("live", NothingMore, TypeAdapter(LiveView))
