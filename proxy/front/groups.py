"""What callers take, by their groups: as many as the rules name, and no caller by his name."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.core.access import Caller
from proxy.core.allow import OPEN, AllowRules, first_group, named_groups
from proxy.core.tables import BoundedTable

_REMEMBERED = 1 << 20  # bytes
_WEIGHT = 100  # bytes of an entry's value
_MOST = 256
"""Groups that are told apart. Rules may name others with each reload, and a counter never goes."""

ANONYMOUS_GROUP, OTHER_GROUP = "anonymous", "other"
"""Whoever has not logged in, and whoever has and belongs to no group that a rule names."""


@dataclass(slots=True)
class GroupTally:
    requests: int = 0
    sent: int = 0  # bytes of bodies


class GroupTallies:
    """``wanted``: there are logins, so that there is anything to tell apart."""

    def __init__(self) -> None:
        self.tallies: dict[str, GroupTally] = {}
        self.configure(OPEN)

    def configure(self, allow: AllowRules) -> None:
        """Groups are those of these rules from now on."""
        self.wanted = allow.logins
        self._named = named_groups(allow)
        self._known: BoundedTable[Caller, GroupTally] = BoundedTable(_REMEMBERED, weigh=lambda _: _WEIGHT)
        self._peek: Callable[[Caller], GroupTally | None] = self._known.peek

    def of(self, caller: Caller) -> GroupTally:
        """Where what he takes is counted."""
        found = self._peek(caller)
        if found is None:
            found = self._tally(self._group(caller))
            self._known.put(caller, found)
        return found

    def requests(self) -> dict[tuple[str, ...], float]:
        """By group."""
        return {(group,): tally.requests for group, tally in self.tallies.items()}

    def sent(self) -> dict[tuple[str, ...], float]:
        """Bytes of bodies by group."""
        return {(group,): tally.sent for group, tally in self.tallies.items()}

    def _group(self, caller: Caller) -> str:
        if not caller.name:
            return ANONYMOUS_GROUP
        return first_group(self._named, caller) or OTHER_GROUP

    def _tally(self, group: str) -> GroupTally:
        if group not in self.tallies and len(self.tallies) >= _MOST:
            group = OTHER_GROUP
        return self.tallies.setdefault(group, GroupTally())
