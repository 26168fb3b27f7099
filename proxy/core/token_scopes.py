"""Scopes of tokens (distribution, "Token Scope Documentation"): ``repository:NAME:pull,push``, several with blanks
between them.

What is granted is told to the client and decides nothing: the gate asks for each pull.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

_MOST = 32


def granted(scopes: Iterable[str], may_pull: Callable[[str], bool]) -> list[dict[str, Any]]:
    """The ``access`` of a token: of what was asked for, the pulls that are allowed. ``may_pull`` is told names as the
    client writes them."""
    access = []
    for kind, name, wanted in _parts(scopes):
        pulls = kind == "repository" and bool({"pull", "*"} & set(wanted)) and may_pull(name)
        access.append({"type": kind, "name": name, "actions": ["pull"] if pulls else []})
    return access


def names_of(scopes: Iterable[str]) -> list[str]:
    """Of the repositories that are meant, as the client writes them."""
    return [name for kind, name, _ in _parts(scopes) if kind == "repository"]


def _parts(scopes: Iterable[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Kind, name and actions of each."""
    for scope in [part for each in scopes for part in each.split(" ") if part][:_MOST]:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        yield kind.partition("(")[0], name, actions.split(",")
