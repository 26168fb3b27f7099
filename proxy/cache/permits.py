"""Which client's own credential may read which repository, where upstream itself decides that (``access: upstream``).

Upstream is asked with that credential before anything is looked up here, so its answer is the same whether something is
held, arrives or is absent; whoever waits for what another client has begun has his own yes. A yes is one to the whole
repository, a no ends it: of one credential and of no other.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from proxy.core.errors import Absent, Fault, ManifestUnknown, Outage, UpstreamBroken, UpstreamRefused, afresh
from proxy.core.names import Repository
from proxy.core.operations import BlobPull, ManifestPull, ReferrersList, TagList
from proxy.core.permits import LOOK_AGAIN, Permit, confirmed, holds, kept
from proxy.core.tables import BoundedTable, Tables, of_repository
from proxy.tasks.flights import Flights
from proxy.tasks.hops import Asker, ask_as
from proxy.upstream.contract import Registry

log = logging.getLogger("entrepot.access")

_REMEMBERED = 8 << 20  # bytes
_REFUSED = 2 << 20
_WHOLE = ""  # in place of a thing: the repository
_LOGIN = "login"
_ONE_TAG = "n=1"

OfRepository = ManifestPull | BlobPull | TagList | ReferrersList
_Key = tuple[Repository, bytes]


class PermitRules(NamedTuple):
    """By the name of an upstream. ``governs``: each client's own credential decides there. Durations in seconds."""

    governs: Callable[[str], bool] = lambda _: False
    ttl: Callable[[str], float] = lambda _: 300.0  # that a yes carries
    stale: Callable[[str], float] = lambda _: 3600.0  # that a yes is kept while upstream does not answer
    any: bool = False  # whether there is such an upstream at all
    only: str | None = None  # the name of that one, where there is no other


NO_PERMITS = PermitRules()


class Permits:
    """Credentials are known by what stands for them, never in clear. ``registry(upstream)`` gives the registry of a
    configured upstream."""

    def __init__(
        self,
        rules: PermitRules,
        registry: Callable[[str], Registry],
        tables: Tables,
        group: asyncio.TaskGroup,
        now: Callable[[], float],
    ) -> None:
        self.any = rules.any
        self.governs, self.only = rules.governs, rules.only
        self._rules = rules
        self._registry = registry
        self._now = now
        self._asking: Flights[tuple[Repository, bytes, str], None] = Flights(group)
        self._known: BoundedTable[_Key, Permit] = tables.table("permits", _REMEMBERED, None, of_repository)
        self._refused: BoundedTable[tuple[Repository, bytes, str], Fault] = tables.table(
            "refused permits", _REFUSED, LOOK_AGAIN, of_repository
        )

    def holds(self, scope: bytes, repository: Repository) -> bool:
        """From memory: may whoever has that credential read all of the repository?"""
        return holds(self._known.peek((repository, scope)), self._now())

    async def require(self, asker: Asker, operation: OfRepository) -> None:
        """Returns where upstream gives the repository to that credential. Raises Absent or UpstreamRefused where it
        does not, and an outage where it has never said."""
        repository, thing = operation.repository, _thing(operation)
        for refused in (_WHOLE, thing):
            if (no := self._refused.get((repository, asker.scope, refused))) is not None:
                raise afresh(no)
        await self._asking.join((repository, asker.scope, thing), partial(self._ask, asker, operation, thing))

    async def require_login(self, asker: Asker) -> None:
        """Raises UpstreamRefused where upstream does not take the login itself, for anything; where it does not say so,
        or does not answer, that is found when something is asked for."""
        whole = Repository(asker.upstream, "")
        if (no := self._refused.get((whole, asker.scope, _LOGIN))) is not None:
            raise afresh(no)
        if not self.holds(asker.scope, whole):
            await self._asking.join((whole, asker.scope, _LOGIN), partial(self._ask_login, asker, whole))

    async def _ask_login(self, asker: Asker, whole: Repository) -> None:
        ask_as(Asker(asker.upstream, asker.scope, asker.login, anew=True))
        began = self._now()
        try:
            ping = await self._registry(asker.upstream).ping()
        except (Outage, UpstreamBroken) as unknown:
            log.info("whether a login for %s is right is not known: %s", asker.upstream, unknown)
            return
        if ping.disbelieved:
            refusal = UpstreamRefused(asker.upstream, "it does not take the login")
            refusal.disbelieved = True
            self._refused.put((whole, asker.scope, _LOGIN), refusal)
            raise refusal
        if ping.accepted:
            self._known.put((whole, asker.scope), confirmed(began, self._rules.ttl(asker.upstream)))

    def withdraw(self, scope: bytes, repository: Repository, refusal: UpstreamRefused) -> None:
        """Upstream has just refused the whole repository to that credential."""
        self._known.pop((repository, scope))
        self._refused.put((repository, scope, _WHOLE), refusal)

    async def _ask(self, asker: Asker, operation: OfRepository, thing: str) -> None:
        repository, scope = operation.repository, asker.scope
        ask_as(Asker(asker.upstream, scope, asker.login, anew=True))
        began = self._now()
        try:
            await _question(self._registry(repository.upstream), operation)
        except Outage as outage:
            left = kept(self._known.peek((repository, scope)), self._now(), self._rules.stale(repository.upstream))
            if left is None:
                raise
            log.warning("a right to %s is kept, upstream cannot be asked: %s", repository, outage)
            self._known.put((repository, scope), left)
        except (Absent, UpstreamRefused) as refusal:
            if isinstance(refusal, UpstreamRefused):
                self.withdraw(scope, repository, refusal)
            else:
                self._known.pop((repository, scope))
                self._refused.put((repository, scope, thing), refusal)
            raise
        else:
            self._known.put((repository, scope), confirmed(began, self._rules.ttl(repository.upstream)))


def _thing(operation: OfRepository) -> str:
    match operation:
        case ManifestPull(reference=reference):
            return f"manifest {reference}"
        case BlobPull(digest=digest):
            return f"blob {digest}"
        case ReferrersList(digest=digest):
            return f"referrers {digest}"
        case TagList():
            return "tags"


async def _question(registry: Registry, operation: OfRepository) -> None:
    """Upstream's own final yes to what the operation is about, by the least that tells. What a manifest's referrers
    say may be read by whoever may read the manifest; there may be some of one that is not there."""
    name = operation.repository.name
    match operation:
        case ManifestPull(reference=reference):
            await registry.manifest_digest(name, reference)
        case BlobPull(digest=digest):
            await registry.blob_size(name, digest)
        case TagList():
            await registry.tags(name, _ONE_TAG)
        case ReferrersList(digest=digest):
            try:
                await registry.manifest_digest(name, digest)
            except ManifestUnknown:
                await registry.tags(name, _ONE_TAG)
