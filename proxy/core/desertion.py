"""What becomes of a fill that nobody reads. Pure: times and counts are arguments."""

from typing import NamedTuple


class DesertionRules(NamedTuple):
    """Bytes and seconds."""

    window: float = 5.0  # without readers, over which its pace is measured
    linger: float = 60.0  # without readers, after which it is judged
    pace: int = 128 << 10  # per second: what is slower gives way to whoever waits for its place
    worth: int = 256 << 20  # a rest that is brought to its end

    def slow(self, gained: int, seconds: float) -> bool:
        """Is it too slow to keep its place, after so many bytes in so many seconds?"""
        return gained < self.pace * seconds

    def worth_finishing(self, size: int | None, received: int) -> bool:
        """Should it go on at all? When little is left, or most is there."""
        if size is None:
            return received <= self.worth
        return size - received <= self.worth or received * 2 >= size
