"""As whom a registry is asked that decides by each client's own credential. Tasks inherit it from those that start
them: whatever is asked for a client's sake is asked with its credential.
"""

from contextvars import ContextVar
from dataclasses import dataclass

from proxy.core.credentials import ClientLogin


@dataclass(slots=True)
class Asker:
    """``upstream`` is the only one that ever sees ``login``. ``anew``: no token may serve that was given before, since
    what is asked is whether the right still stands; whoever has seen to that turns it off."""

    upstream: str
    scope: bytes = b""  # what stands for the login in memory; empty for none
    login: ClientLogin | None = None
    anew: bool = False


ASKER: ContextVar[Asker | None] = ContextVar("ASKER", default=None)
"""None where it is asked in nobody's name, or in that of this cache."""


def asker_of(upstream: str) -> Asker | None:
    """Who asks that upstream, if somebody does."""
    asker = ASKER.get()
    return asker if asker is not None and asker.upstream == upstream else None


def scope_of(upstream: str) -> bytes:
    """What stands for the credential that it is asked with; empty for none, and for that of this cache."""
    asker = asker_of(upstream)
    return asker.scope if asker is not None else b""
