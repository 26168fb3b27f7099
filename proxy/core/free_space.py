"""How much of a disk stays free."""

import math
from typing import NamedTuple


class FreeSpaceRule(NamedTuple):
    """Room that stays free on the disk of the cache: the larger of a size and a share."""

    size: int  # bytes
    percent: float  # of the whole disk, 0 to 100

    def floor(self, total: int) -> int:
        """The bytes to keep free on a disk of ``total`` bytes; a part of a byte counts as one."""
        return max(self.size, math.ceil(total * self.percent / 100))
