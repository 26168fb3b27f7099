"""Scopes of tokens (distribution, "Token Scope Documentation"): ``repository:NAME:pull,push``, several with blanks
between them.

What is granted is told to the client and decides nothing: the gate asks for each pull.
"""

from collections.abc import Callable, Iterable
from typing import Any

_MOST = 32


def granted(scopes: Iterable[str], may_pull: Callable[[str], bool]) -> list[dict[str, Any]]:
    """The ``access`` of a token: of what was asked for, the pulls that are allowed. ``may_pull`` is told names as the
    client writes them."""
    access = []
    for scope in [part for each in scopes for part in each.split(" ") if part][:_MOST]:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        kind = kind.partition("(")[0]
        wanted = actions.split(",")
        pulls = kind == "repository" and bool({"pull", "*"} & set(wanted)) and may_pull(name)
        access.append({"type": kind, "name": name, "actions": ["pull"] if pulls else []})
    return access
