"""Who is let in: from what a request says of its sender to a caller who may have what he asks for, or to the fault that
he is told."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeGuard

from proxy.cache.permits import OfRepository, Permits
from proxy.core.access import ADMITTED, ANONYMOUS, LET_IN, Admission, Caller, Gate, hidden
from proxy.core.allow import AllowRule
from proxy.core.claims import TokenRefused
from proxy.core.errors import (
    Absent,
    Fault,
    LoginNeeded,
    LoginRefused,
    NameInvalid,
    RequestMalformed,
    UpstreamRefused,
    UpstreamUnknown,
)
from proxy.core.names import Repository, UpstreamNames
from proxy.core.operations import CatalogList, Operation, TagList, TokenGrant
from proxy.core.token_scopes import granted, names_of
from proxy.front.fairness import Fairness
from proxy.front.requests import Understood
from proxy.front.routes import Asked
from proxy.login.issuers import OURSELVES
from proxy.login.logins import Granted, Logins
from proxy.tasks.hops import Asker, ask_as

_HOST: Final = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}")
_NAME: Final = re.compile(r"/v2/([a-zA-Z0-9._:/-]{1,255})/(?:manifests|blobs|referrers|tags)/[^/]+")


LimitingRule = Callable[[Caller, Repository], AllowRule | None]


class Door:
    """The gate decides; ``names`` are those of upstreams. ``limiting_rule`` tells by which rule
    a caller pulls of a repository, where that bounds what he may take, and ``fairness`` holds him to it."""

    def __init__(
        self,
        gate: Gate,
        logins: Logins,
        permits: Permits,
        names: UpstreamNames,
        limiting_rule: LimitingRule,
        fairness: Fairness,
    ) -> None:
        self.limiting_rule = limiting_rule
        self.fairness = fairness
        self._gate = gate
        self._logins = logins
        self._permits = permits
        self._names = names

    async def admitted(self, understood: Understood, address: str, scheme: str) -> Caller:
        """``scheme`` is how the client came. Whoever may not have what he asks for is told so before it is known
        whether it is there. Raises LoginNeeded, LoginRefused, LoginsUnproven, Absent, and the fault of what asks for
        nothing that there is."""
        asked, fault = understood.asked, understood.fault
        if asked is None and not isinstance(fault, UpstreamUnknown):  # about the request alone, whoever sent it
            raise fault or RequestMalformed("nothing was asked")
        if self._permits.any and asked is not None and self._governed(operation := asked.operation):
            return await self._permitted(understood, operation, address, scheme)
        wanted = self._logins.wanted
        if wanted and self._permits.any and asked is not None and asked.operation.repository is None:
            caller = await self._somebody(understood, asked, address, scheme)
        else:
            caller = await self._caller(understood, address, scheme) if wanted else understood.caller or ANONYMOUS
        if asked is None:
            if wanted and not (caller.name or caller.login):  # what is configured is told to no stranger
                raise LoginNeeded(self._challenge(understood, scheme))
            raise fault or RequestMalformed("nothing was asked")
        if isinstance(asked.operation, TokenGrant):
            self._require_login(caller, asked.operation)
            return caller
        match self._gate.admit(caller, asked.operation):
            case Admission.CHALLENGED:
                raise LoginNeeded(self._challenge(understood, scheme))
            case Admission.HIDDEN:
                raise hidden(asked.operation)
        return caller

    def sender(self, understood: Understood) -> Caller:
        """As far as memory tells by now; nobody in particular where it does not."""
        return understood.caller or self._logins.recall(understood.authorization) or ANONYMOUS

    def takes(self, caller: Caller, operation: Operation, address: str, size: int) -> bool:
        """Whether he may be sent so many bytes now. Then they count."""
        rule = self._rule(caller, operation)
        return rule is None or self.fairness.takes(rule, caller, address, size)

    async def pay(self, caller: Caller, operation: Operation, address: str, size: int) -> None:
        """Until he may be sent so many bytes."""
        rule = self._rule(caller, operation)
        if rule is not None:
            await self.fairness.pay(rule, caller, address, size)

    def _rule(self, caller: Caller, operation: Operation) -> AllowRule | None:
        repository = operation.repository
        return self.limiting_rule(caller, repository) if repository is not None else None

    def shows(self, caller: Caller, repository: Repository) -> bool:
        """Whether a catalog for him has that repository."""
        return self._gate.admit(caller, TagList(repository, None, "")) in LET_IN

    def token(self, caller: Caller, asking: TokenGrant) -> Granted:
        """For the login that came with the question, or for nobody in particular."""
        return self._logins.grant(caller, granted(asking.scopes, lambda name: self._may_pull(caller, name)))

    def recall(self, authorization: bytes, asked: Asked | None) -> Caller | None:
        """Who has sent that with such a question, as far as memory tells: where upstream decides, a login is for it."""
        if not self._permits.any:
            return self._logins.recall(authorization)
        if asked is None or asked.operation.repository is None:
            return None
        governed = self._permits.governs(asked.operation.repository.upstream)
        return (self._logins.for_upstreams if governed else self._logins).recall(authorization)

    async def turned_away(
        self, understood: Understood, caller: Caller, address: str, scheme: str, refused: UpstreamRefused
    ) -> Fault:
        """What to tell of upstream's refusal to somebody who was admitted: where it decides by each client's own
        credential, what whoever was never admitted is told too, and from now on."""
        asked = understood.asked
        if asked is None or not self._governed(operation := asked.operation):
            return refused
        self._permits.withdraw(caller.scope, operation.repository, refused)
        return await self._unpermitted(understood, caller, address, scheme, refused)

    def _governed(self, operation: Operation) -> TypeGuard[OfRepository]:
        """Whether it is upstream that decides who may have it."""
        repository = operation.repository
        return self._permits.any and repository is not None and self._permits.governs(repository.upstream)

    async def _permitted(self, understood: Understood, operation: OfRepository, address: str, scheme: str) -> Caller:
        """From here on upstream is asked with what the caller has sent for it, by whatever his request sets off."""
        caller = await self._visitor(understood, address, scheme)
        asker = Asker(operation.repository.upstream, caller.scope, caller.login)
        ask_as(asker)
        if self._gate.admit(caller, operation) is not ADMITTED:
            try:
                await self._permits.require(asker, operation)
            except (Absent, UpstreamRefused) as no:
                raise await self._unpermitted(understood, caller, address, scheme, no) from no
        return caller

    async def _unpermitted(
        self, understood: Understood, caller: Caller, address: str, scheme: str, no: Absent | UpstreamRefused
    ) -> Fault:
        assert understood.asked is not None
        if caller.login is None:
            return LoginNeeded(self._challenge(understood, scheme))
        if isinstance(no, UpstreamRefused) and no.disbelieved:
            return await self._refused(understood, address, scheme, f"{no.upstream} does not take it")
        return hidden(understood.asked.operation)

    async def _visitor(self, understood: Understood, address: str, scheme: str) -> Caller:
        """Whoever asks, by what he has sent for a registry; nobody in particular where he has sent nothing."""
        if not understood.authorization:
            return await self._caller(understood, address, scheme)
        try:
            return self._logins.for_upstreams.find(understood.authorization)
        except TokenRefused as refused:
            raise await self._refused(understood, address, scheme, str(refused)) from None

    async def _refused(self, understood: Understood, address: str, scheme: str, why: str) -> LoginRefused:
        refused = await self._logins.refused(address, why)
        return LoginRefused(refused.why, self._challenge(understood, scheme, "invalid_token"))

    async def _somebody(self, understood: Understood, asked: Asked, address: str, scheme: str) -> Caller:
        """Who asks for what is of no repository: a login may be for this cache or for a registry then, unless a token
        is asked for that names repositories."""
        of = self._upstreams_of(asked.operation) if isinstance(asked.operation, TokenGrant) else frozenset()
        governed = frozenset(filter(self._permits.governs, of))
        if governed and understood.authorization:
            caller = await self._visitor(understood, address, scheme)
        else:
            try:
                caller = await self._caller(understood, address, scheme)
            except LoginRefused:
                if of:
                    raise
                caller = await self._visitor(understood, address, scheme)
        if caller.login is not None and isinstance(asked.operation, TokenGrant):
            only = self._permits.only
            for upstream in governed or (frozenset({only}) if only is not None and not of else ()):
                await self._believed(Asker(upstream, caller.scope, caller.login), understood, address, scheme)
        return caller

    async def _believed(self, asker: Asker, understood: Understood, address: str, scheme: str) -> None:
        """So that a wrong password is told where it is given. Raises LoginRefused."""
        try:
            await self._permits.require_login(asker)
        except UpstreamRefused as no:
            why = f"{no.upstream} does not take it"
            raise await self._refused(understood, address, scheme, why) from no

    def _upstreams_of(self, asking: TokenGrant) -> frozenset[str]:
        """Those of the repositories that a token is for."""
        found = set()
        for name in names_of(asking.scopes):
            with suppress(UpstreamUnknown, NameInvalid):
                found.add(self._names.repository(name, None).upstream)
        return frozenset(found)

    async def _caller(self, understood: Understood, address: str, scheme: str) -> Caller:
        caller = understood.caller
        try:
            if not understood.authorization:
                caller = caller or ANONYMOUS
                if self._logins.is_over(caller):
                    raise LoginRefused("the certificate is over")
                return caller
            return await self._logins.find(understood.authorization, address)
        except LoginRefused as refused:
            challenge = self._challenge(understood, scheme, "invalid_token")
            raise LoginRefused(refused.why, challenge) from None

    def _require_login(self, caller: Caller, asking: TokenGrant) -> None:
        """A token for nobody is of use where there is something for everybody."""
        if not self._logins.wanted:
            raise hidden(asking)
        if caller.name or self._permits.any:
            return
        if self._gate.admit(caller, CatalogList(None, None)) is not ADMITTED:
            raise LoginNeeded(_BASIC)

    def _may_pull(self, caller: Caller, name: str) -> bool:
        try:
            repository = self._names.repository(name, None)
            return self._permits.governs(repository.upstream) or self.shows(caller, repository)
        except (UpstreamUnknown, NameInvalid):
            return False

    def _challenge(self, understood: Understood, scheme: str, error: str = "") -> str:
        """How to get a token (RFC 6750 section 3), under the name that the client knows us by."""
        asked = understood.asked
        if asked is not None and isinstance(asked.operation, TokenGrant):
            return _BASIC
        host = understood.head.headers.get("host", "")
        base = self._logins.rules.public_url or f"{scheme}://{host if _HOST.fullmatch(host) else 'localhost'}"
        governed = asked is not None and self._governed(asked.operation)
        return bearer(f"{base}/token", _scope(asked, whole=governed), error)


_BASIC = f'Basic realm="{OURSELVES}"'


def bearer(realm: str, scope: str, error: str) -> str:
    """The value of WWW-Authenticate; what is empty is left out."""
    said = {"realm": realm, "service": OURSELVES, "scope": scope, "error": error}
    return "Bearer " + ",".join(f'{name}="{value}"' for name, value in said.items() if value)


def _scope(asked: Asked | None, *, whole: bool) -> str:
    """For the repository as the client names it; empty where it asks for none. ``whole``: the name says of which
    registry it is, also where that stands elsewhere in the request."""
    if asked is None:
        return ""
    found = _NAME.fullmatch(asked.path)
    if found is None:
        return ""
    before = f"{asked.namespace}/" if whole and asked.namespace is not None else ""
    return f"repository:{before}{found[1]}:pull"
