"""How many open files a process needs for its clients, and how many clients fit into what it may open."""

_EACH = 4  # of one connection: itself, its file, its registry, and one to spare
_OWN = 96  # of the process itself


def descriptors_for(connections: int) -> int:
    """Open files that so many connections may need."""
    return _OWN + _EACH * connections


def connections_within(descriptors: int | None, wanted: int) -> int:
    """So many connections, of those wanted, that held content can still be opened, and one more be told that it is too
    many. None is no limit."""
    return wanted if descriptors is None else max(1, min(wanted, (descriptors - _OWN) // _EACH))
