"""Whose question a task works at: tasks that it starts inherit it, so that whatever is asked for its sake is asked in
the same name, and a registry that decides by each client's own credential is asked with that client's.
"""

from contextvars import ContextVar
from dataclasses import dataclass

from proxy.core.credentials import ClientLogin
from proxy.core.via import Hops

CAME_BY: ContextVar[Hops] = ContextVar("CAME_BY", default=())
"""The caches through which the request came that is being answered; none for what nobody has asked for."""


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

SCOPE: ContextVar[bytes] = ContextVar("SCOPE", default=b"")
"""What stands for the credential that is asked with; empty for none, and for that of this cache. What upstream answers
is an answer to it and to no other."""


def asker_of(upstream: str) -> Asker | None:
    """Who asks that upstream, if somebody does."""
    asker = ASKER.get()
    return asker if asker is not None and asker.upstream == upstream else None


def ask_as(asker: Asker | None) -> None:
    """From now on, for this task and what it starts."""
    ASKER.set(asker)
    SCOPE.set(asker.scope if asker is not None else b"")
