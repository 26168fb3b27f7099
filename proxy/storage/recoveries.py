"""How a catalog came to be what it is, in one word."""

from enum import Enum


class Recovery(Enum):
    """How the catalog came to be what it is: at its opening, or since then where damage was met. Values are those of
    the metric's label."""

    INTACT = "intact"
    MIGRATED = "migrated"  # from an older version, with everything
    MENDED = "mended"  # built anew from its own rows, without those that could not be read
    FROM_COPY = "from_copy"  # what is newer than the copy has to be found by a scan
    FOREIGN = "foreign"  # another version wrote it: it is kept aside, and what could be read of it is taken over
    NEW = "new"  # there was none before
    EMPTY = "empty"  # all has to be found by a scan, and membership asked again
