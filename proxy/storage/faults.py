"""What an operating system error means to those above: no room, or a store that failed."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from proxy.core.errors import NoSpace, OwnFault, StoreFailed
from proxy.storage.health import StorageHealth

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


@contextmanager
def reported(health: StorageHealth, work: str, doing: str) -> Iterator[None]:
    """As ``faults``, and ``health`` hears of it as what that kind of work cannot do now."""
    try:
        yield
    except OSError as error:
        fault = fault_of(error, doing)
        health.failed(work, fault)
        raise fault from error
