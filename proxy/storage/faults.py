"""What an operating system error means to those above: no room, or a store that failed."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from proxy.core.errors import NoSpace, OwnFault, StoreFailed

_FULL = (errno.ENOSPC, errno.EDQUOT)


def fault_of(error: OSError, doing: str) -> OwnFault:
    """NoSpace for a full disk, a used-up quota or no more inodes; StoreFailed for all else."""
    kind = NoSpace if error.errno in _FULL else StoreFailed
    return kind(f"cannot {doing}: {error.strerror or error}")


@contextmanager
def faults(doing: str) -> Iterator[None]:
    """Turns an OSError inside into ``fault_of`` it."""
    try:
        yield
    except OSError as error:
        raise fault_of(error, doing) from error
