"""The bytes of one blob on their way here, whoever sends them."""

from typing import Protocol


class Transfer(Protocol):
    """The body of one answer, positioned at ``offset``. Its blocking calls belong to one mover thread; ``interrupt``
    may come from any."""

    origin: str  # the home of bytes that it comes from; what it sent wrong is blamed on that home
    size: int | None  # bytes of the whole blob, where the origin said it
    offset: int  # where the first byte of the body stands in the blob

    def readinto(self, buffer: memoryview) -> int:
        """Fills as much of ``buffer`` as has come (waits for at least one byte); 0 at the clean end of the body.
        Blocks. Raises UpstreamTimeout (nothing for too long, or too slow) or UpstreamUnreachable (reset, fewer bytes
        than promised)."""

    def interrupt(self) -> None:
        """Wakes a blocked ``readinto``, which then raises UpstreamUnreachable."""

    def close(self) -> None:
        """Gives the connection back for reuse where the body was read to its end, closes it otherwise. Idempotent."""
