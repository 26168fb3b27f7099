"""The bytes of one blob on their way to us, wherever they come from: a registry, another home of bytes, a peer."""

from typing import Protocol


class Transfer(Protocol):
    """The body of one answer, positioned at ``offset``. Its blocking calls belong to one mover thread; ``interrupt``
    may come from any.

    What the bytes turn out to be is blamed on ``origin`` and on nobody else.
    """

    origin: str  # the name of the home that the bytes come from; of a registry, its configured name
    size: int | None  # bytes of the whole blob, where the origin said it
    offset: int  # where the first byte of the body stands in the blob

    def readinto(self, buffer: memoryview) -> int:
        """Fills as much of ``buffer`` as has come (waits for at least one byte); 0 at the clean end of the body.
        Blocks. Raises UpstreamTimeout (nothing for 30 s, or under 32 KiB/s over 60 s), UpstreamUnreachable (reset,
        fewer bytes than promised), UpstreamBroken (a framing that cannot be read)."""

    def interrupt(self) -> None:
        """Wakes a blocked ``readinto``, which then raises UpstreamUnreachable."""

    def close(self) -> None:
        """Gives the connection back for reuse where the body was read to its end, closes it otherwise. Idempotent."""
