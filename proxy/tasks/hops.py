"""Whose question a task works at: tasks that it starts inherit it, so that whatever is asked for its sake is asked in
the same name."""

from contextvars import ContextVar

from proxy.core.via import Hops

CAME_BY: ContextVar[Hops] = ContextVar("CAME_BY", default=())
"""The caches through which the request came that is being answered; none for what nobody has asked for."""
