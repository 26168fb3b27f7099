"""The gate as the configuration wants it. It is asked for every request, hits too, so what it found is remembered."""

from collections.abc import Callable

from proxy.core.access import ADMITTED, Admission, Caller
from proxy.core.allow import OPEN, AllowRule, AllowRules, admission, deciding_rule
from proxy.core.names import Repository
from proxy.core.operations import CatalogList, Operation
from proxy.core.tables import BoundedTable

_REMEMBERED = 4 << 20  # bytes
_WEIGHT = 400  # bytes of an entry's value, a caller's share of himself included


def _weight(admission: Admission) -> int:
    return _WEIGHT


class AllowGate:
    """Callers are known by identity, and repositories by name."""

    def __init__(
        self,
        allow: AllowRules = OPEN,
        governs: Callable[[str], bool] | None = None,
        holds: Callable[[bytes, Repository], bool] = lambda scope, repository: False,
    ) -> None:
        """``governs`` tells of an upstream whether each client's own credential decides there, None where that is so of
        none; ``holds`` whether one may read a repository, as far as memory knows."""
        self._governs = governs
        self._holds = holds
        self.configure(allow)

    def configure(self, allow: AllowRules) -> None:
        """Holds for the next request on."""
        self._allow = allow
        self._open = allow == OPEN and self._governs is None
        self._limits = any(rule.rate is not None or rule.fills is not None for rule in allow.rules)
        self._known: BoundedTable[tuple[Caller, Repository], Admission] = BoundedTable(_REMEMBERED, weigh=_weight)
        self._peek: Callable[[tuple[Caller, Repository]], Admission | None] = self._known.peek

    def limiting_rule(self, caller: Caller, repository: Repository) -> AllowRule | None:
        """The rule that lets him pull of it, where that bounds what he may take."""
        number = deciding_rule(self._allow, caller, repository) if self._limits else None
        rule = self._allow.rules[number] if number is not None else None
        return rule if rule is not None and (rule.rate is not None or rule.fills is not None) else None

    def admit(self, caller: Caller, operation: Operation) -> Admission:
        """Never waits and never raises."""
        if self._open:
            return ADMITTED
        repository = operation.repository
        if repository is None:
            if self._governs is not None and caller.login is not None and isinstance(operation, CatalogList):
                return ADMITTED  # what is listed is another question
            return admission(self._allow, caller, operation)
        found = self._peek((caller, repository))
        if found is None:
            if self._governs is not None and self._governs(repository.upstream):
                return ADMITTED if self._holds(caller.scope, repository) else Admission.UNDECIDED
            found = admission(self._allow, caller, operation)
            if found is ADMITTED and (rule := self.limiting_rule(caller, repository)) is not None and rule.rate:
                found = Admission.MEASURED
            self._known.put((caller, repository), found)
        return found
