"""A request under way, for people who look."""

from dataclasses import dataclass

from proxy.front.replies import Reply, Stream
from proxy.front.requests import Understood


@dataclass(slots=True, eq=False)
class LivePull:
    """``started`` by the loop's clock; ``reply`` is None until there is one."""

    address: str
    understood: Understood
    started: float
    reply: Reply | None = None

    @property
    def sent(self) -> int:
        """Bytes of body that went out."""
        content = self.reply.content if self.reply is not None else None
        return content.sent if isinstance(content, Stream) else 0
